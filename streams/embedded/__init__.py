"""What `streams.broker` runs on: Kafka's jars, fetched and checked, and the guard that its processes live under."""
