"""What operators watch: the delivery log, metrics, health, and what happened in each hour."""
