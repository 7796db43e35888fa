"""What users of HTTP clients run into, one test or more for each promise about it.

README.rst lists the promises by number; `test_row_7_...` shows the seventh. Each test's docstring
quotes the sentence that it shows.
"""
