"""What has a vocabulary's width: the embedding's rows, and sampling from logits."""
