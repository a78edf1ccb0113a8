"""Running batches: many texts from one corpus, synthesized once each."""
