"""The article's web service, re-created: Flask in front of RQ, as shown there, with `Job.fetch` for status and result.

The article's own code was not at hand. What is written here is the plainest service that fits its description.
"""

# ruff: noqa: TID251  another service, with rules of its own

import os

from flask import Flask, jsonify, request
from redis import Redis
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job

app = Flask(__name__)
redis = Redis.from_url(os.environ["ARTICLE_REDIS_URL"])
queue = Queue("default", connection=redis)
FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


@app.get("/iris/api/v1.0/getpred")
def getpred():
    # by name: importing the task here would bring pandas and scikit-learn into the web process
    job = queue.enqueue("prediction.predict", *(float(request.args[name]) for name in FEATURES))
    return jsonify(job_id=job.id)


@app.get("/iris/api/v1.0/status/<job_id>")
def status(job_id):
    job = Job.fetch(job_id, connection=redis)
    if job.is_failed:
        return jsonify(code="INTERNAL_SERVER_ERROR", status="error"), 500
    if job.is_finished:
        return jsonify(code="READY", status="success")
    return jsonify(code="NOT_READY", status="running"), 202


@app.get("/iris/api/v1.0/result/<job_id>")
def result(job_id):
    job = Job.fetch(job_id, connection=redis)
    if not job.is_finished:
        return jsonify(code="NOT_READY", status="running"), 202
    return jsonify(result=job.return_value())


@app.errorhandler(NoSuchJobError)
def not_found(_error):
    return jsonify(code="NOT_FOUND", status="error"), 404
