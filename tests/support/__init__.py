"""What several tests share: the rows of the reliability table, and the oracle model."""
