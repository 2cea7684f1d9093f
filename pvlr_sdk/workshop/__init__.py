"""What makes, measures and exports plans: compilation, evaluation, exporters and diagnostics. No device needs it."""
