"""Tocsin: user reports in Kafka become incidents; the flow is in `streams.app`."""
