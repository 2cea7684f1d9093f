"""What every request passes: connections, access control, limits, problem documents and the audit log."""
