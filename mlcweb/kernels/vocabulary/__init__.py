"""What has a vocabulary's width: the embedding's rows, the mask of a constraint, and sampling from logits."""
