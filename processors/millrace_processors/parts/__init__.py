"""Parts of 10-minute reports: for merchants whose hours and days begin inside one (contracts/reports.py, grain ``part``).

- whose: which merchants have them.
- placing: facts in parts, and days by when a fact occurred (DataFrame -> DataFrame, pure).
- making: computed and written, with the reports and for what was there before.
"""
