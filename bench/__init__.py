"""What harken costs and what it finds, each measured against what a user would use instead."""
