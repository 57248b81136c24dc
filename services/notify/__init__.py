"""notify: owns the hand-off and the delivery, and the department's clock."""
