"""What Prometheus gets: the families of metrics, and the groups of a Pushgateway."""
