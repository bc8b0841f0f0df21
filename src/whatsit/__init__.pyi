from whatsit.apps.client import Client as Client
from whatsit.apps.entry_points import verify as verify
from whatsit.apps.tracking import track as track
from whatsit.errors import WhatsitError as WhatsitError
from whatsit.run.record import Run as Run
from whatsit.run.summary import list_runs as runs  # noqa: F401 - public
from whatsit.runtime.predictor import Prediction as Prediction
from whatsit.runtime.predictor import Predictor as Predictor
from whatsit.runtime.predictor import Predictor as load  # noqa: F401, N813 - opening a model reads as a verb
from whatsit.runtime.unsorting import undo as undo_sorting  # noqa: F401 - public
from whatsit.verbs.benchmark import benchmark as benchmark
from whatsit.verbs.check import check as check
from whatsit.verbs.checks import checks as checks
from whatsit.verbs.compare import compare as compare
from whatsit.verbs.costs import put_costs as put_costs
from whatsit.verbs.cross_validate import cross_validate as cross_validate
from whatsit.verbs.demo import demo as demo
from whatsit.verbs.ensemble import ensemble as ensemble
from whatsit.verbs.evaluate import evaluate as evaluate
from whatsit.verbs.explain import explain as explain
from whatsit.verbs.explore import explore as explore
from whatsit.verbs.export import export as export
from whatsit.verbs.import_model import import_model as import_model
from whatsit.verbs.predict_files import predict_files as predict_files
from whatsit.verbs.rename import rename as rename
from whatsit.verbs.similar import similar as similar
from whatsit.verbs.suggest import suggest as suggest
from whatsit.verbs.train import train as train
from whatsit.verbs.tune import tune as tune
from whatsit.verbs.watch import watch as watch
from whatsit.version import __version__ as __version__
