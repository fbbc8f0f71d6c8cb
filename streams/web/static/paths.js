// Lines and bands as paths of SVG.

const at = (value, index, { width, height, top, length }) =>
  `${((index / Math.max(1, length - 1)) * width).toFixed(1)} ${(height - 1 - (Math.min(value, top) / top) * (height - 2)).toFixed(1)}`;

/** Return a line through values, broken where there is none. */
export function line(values, scale) {
  let pen = "M";
  let path = "";
  values.forEach((value, index) => {
    if (value === null) pen = "M";
    else {
      path += pen + at(value, index, scale);
      pen = "L";
    }
  });
  return path;
}

/** Return the area between two lines, in pieces where there is none. */
export function band(low, high, scale) {
  let path = "";
  let piece = [];
  const close = () => {
    if (piece.length > 1) {
      const upper = piece.map((index) => at(high[index], index, scale));
      const lower = piece.map((index) => at(low[index], index, scale)).reverse();
      path += `M${[...upper, ...lower].join("L")}Z`;
    }
    piece = [];
  };
  high.forEach((value, index) => (value === null || low[index] === null ? close() : piece.push(index)));
  close();
  return path;
}
