"""How Redis and other servers are reached: addresses, clients, certificates, and HTTP without a proxy."""
