"""Rules are judged and deliveries made here, by whoever lives: workers, and web processes where no worker does."""
