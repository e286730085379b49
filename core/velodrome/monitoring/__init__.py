"""What Prometheus is shown: the families of metrics, and the groups of a Pushgateway."""
