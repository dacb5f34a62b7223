"""The report, results/README.md and report.html, from the CSV files: python -m scripts.report"""
