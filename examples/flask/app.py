from flask import Flask, render_template

app = Flask(__name__)


@app.route("/")
@app.route("/hello/<name>")
def index(name="world"):
    return render_template("index.html", name=name)
