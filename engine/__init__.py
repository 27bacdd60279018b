"""What turns sounds and sentences into vectors, finds neighbours and re-ranks them."""
