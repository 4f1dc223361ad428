"""Problems: costs, data, graphs and start points."""
