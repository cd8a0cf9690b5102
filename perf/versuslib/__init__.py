"""The parts of perf/versus: peers, models, figures, statistics, tables."""
