"""What one does with converted models; nothing below knows of these."""
