"""How good a model is: a run, an archive and a running service, judged by the same photos.

predictors -> evaluate (selection, answers) -> findings (metrics, calibration) -> report
"""
