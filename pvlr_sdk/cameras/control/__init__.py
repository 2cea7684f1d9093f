"""What changes while a site runs, and its one owner: plan, label bank, thresholds, switches and regions."""
