"""The local platform: Kafka, the store and the services as child processes with data on disk."""
