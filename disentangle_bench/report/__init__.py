"""Reports: tables, statistics and figures made from run directories alone."""
