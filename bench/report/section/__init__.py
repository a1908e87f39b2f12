"""One chapter a file: each offers TITLE and show(sweep), and is named by its import path in conf/report/."""
