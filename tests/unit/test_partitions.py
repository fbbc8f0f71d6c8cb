import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as kafka_murmur2

from streams.partitions import murmur2, partition_for


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # the vectors of Kafka's own test of its Java client
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_that_of_the_java_client(data: bytes, expected: int) -> None:
    assert murmur2(data) == expected


def test_a_negative_hash_gives_the_partition_of_the_java_client() -> None:
    # Kafka clears the sign bit; it does not take the absolute value.
    assert partition_for(b"foobar", 1000) == (-790332482 & 0x7FFFFFFF) % 1000
    assert partition_for(b"foobar", 1000) != 790332482 % 1000


@given(st.binary(max_size=80), st.integers(1, 1024))
def test_the_partition_is_the_one_that_kafka_python_picks(key: bytes, partitions: int) -> None:
    assert partition_for(key, partitions) == (kafka_murmur2(key) & 0x7FFFFFFF) % partitions
