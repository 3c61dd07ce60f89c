"""Files of cases: households with their resources, one a line of JSON or a row of Arrow, computed without a server."""
