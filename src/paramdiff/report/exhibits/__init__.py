"""The paper's tables and figures, drawn from the runs of a sweep beside what was published."""
