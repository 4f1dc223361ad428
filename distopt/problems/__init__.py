"""Problems: costs, data, graphs, and who starts where."""
