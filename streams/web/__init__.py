"""The page and the API of `tocsin web`: facts from the public topics into a file, and from there to people."""
