from lookonce.api import LoadedDetector as LoadedDetector
from lookonce.api import load as load
from lookonce.cloud.job import job as job
from lookonce.detections import Detections as Detections
from lookonce.errors import DataError as DataError
from lookonce.errors import LookonceError as LookonceError
from lookonce.errors import SettingsError as SettingsError
from lookonce.prediction.predictor import Prediction as Prediction
from lookonce.prediction.result import PredictedImage as PredictedImage
from lookonce.workflows.anchors import anchors as anchors
from lookonce.workflows.bench import bench as bench
from lookonce.workflows.check import check as check
from lookonce.workflows.config import config as config
from lookonce.workflows.convert import convert as convert
from lookonce.workflows.convert_data import convert_data as convert_data
from lookonce.workflows.demo import demo as demo
from lookonce.workflows.diagnose import diagnose as diagnose
from lookonce.workflows.doctor import doctor as doctor
from lookonce.workflows.evaluate import evaluate as evaluate
from lookonce.workflows.explain_assignment import explain_assignment as explain_assignment
from lookonce.workflows.export import export as export
from lookonce.workflows.hub import pull as pull
from lookonce.workflows.hub import push as push
from lookonce.workflows.info import info as info
from lookonce.workflows.predict import Predicted as Predicted
from lookonce.workflows.predict import predict as predict
from lookonce.workflows.report import report as report
from lookonce.workflows.train import train as train
from lookonce.workflows.verify import verify as verify

__version__: str
eval = evaluate
