"""The whole way on a real cluster, as a user goes it: from the packaged chart to a restored board."""
