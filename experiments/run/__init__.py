"""What the families share: configuration, run folders, tracking, launching, tables."""
