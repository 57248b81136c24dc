"""Kafka and the store of the tests: child processes, containers, or servers that are there.

| module | does |
|---|---|
| `own` | servers for the time of a test, of the kind that is asked for |
| `local` | Kafka and the embedded store as child processes |
| `containers` | Apache Kafka and MongoDB in containers, from their official images |
| `missing` | what keeps containers from being used, in one line |
| `given` | the servers of `JIEYOU_KAFKA_URL` and `JIEYOU_MONGO_URL`: held harmless, and tidied up |
"""
