"""Methods that cost seconds and are hard to beat: what every trained network stands beside."""
