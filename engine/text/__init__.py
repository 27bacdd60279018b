"""From sentences and templates to token ids."""
