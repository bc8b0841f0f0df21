"""What the apps say, in English and in Thai. Plain words: nobody needs to know what a softmax is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from whatsit.apps.words_of_data import OF_DATA

LANGUAGES = {"th": "ไทย", "en": "English"}


@dataclass(frozen=True)
class Words:
    """One language's words."""

    language: str  # a key of LANGUAGES

    def __call__(self, key: str, **values: object) -> str:
        """The text under a key of `WORDS`, with its `{places}` filled in."""
        english, thai = WORDS[key]
        return (thai if self.language == "th" else english).format(**values)


def language_of(locale: str | None) -> str:
    """`th` for a browser that prefers Thai, else `en`."""
    return "th" if (locale or "").lower().split("-")[0] == "th" else "en"


WORDS: Mapping[str, tuple[str, str]] = {
    **OF_DATA,
    # Around every page
    "page.classify": ("Pictures", "ดูรูป"),
    "page.live": ("Live camera", "กล้องสด"),
    "page.teach": ("Teach", "สอน"),
    "page.data": ("The data", "ข้อมูล"),
    "page.queue": ("To label", "รอติดป้าย"),
    "page.model": ("About the model", "เกี่ยวกับโมเดล"),
    "language": ("Language", "ภาษา"),
    "model.choose": ("Model", "โมเดล"),
    "model.none": (
        "There is no model here yet. Train one with `whatsit train FOLDER`, then start the app with `whatsit app runs`.",
        "ยังไม่มีโมเดล สร้างได้ด้วยคำสั่ง `whatsit train FOLDER` แล้วเปิดแอปด้วย `whatsit app runs`",
    ),
    "model.bad": ("This model cannot be used: {reason}", "ใช้โมเดลนี้ไม่ได้: {reason}"),
    "failed": (
        "Something went wrong on our side: {reason}. Your pictures were not changed; try again, or try another model.",
        "เกิดข้อผิดพลาดในระบบ: {reason} รูปของคุณไม่ถูกแก้ไข ลองใหม่อีกครั้ง หรือเลือกโมเดลอื่น",
    ),
    "about.knows": ("It knows {n} kinds of things", "รู้จักสิ่งของ {n} ประเภท"),
    "about.learned": ("It learned from {n} pictures ({source})", "เรียนรู้จากรูป {n} รูป ({source})"),
    "about.right": (
        "{share} of its answers were right on test pictures it had never seen",
        "ตอบถูก {share} จากรูปทดสอบที่ไม่เคยเห็น",
    ),
    "about.between": ("most likely between {low} and {high}", "ค่าจริงน่าจะอยู่ระหว่าง {low} ถึง {high}"),
    "about.made": ("Made on {date}", "สร้างเมื่อ {date}"),
    "about.local": (
        "Your pictures are looked at and forgotten: nothing is saved, nothing is sent on.",
        "รูปของคุณใช้เพื่อตอบเท่านั้น ไม่มีการบันทึกและไม่ส่งต่อไปที่อื่น",
    ),
    "seconds": ("{n} seconds", "{n} วินาที"),
    "seconds.less": ("less than {n} seconds", "ไม่ถึง {n} วินาที"),
    # Streamlit's own widgets; no quotes or backslashes in these
    "widget.choose": ("Choose pictures", "เลือกรูป"),
    "widget.drop": ("or drop them here; up to 50 MB each", "หรือลากมาวางที่นี่ ไม่เกิน 50 MB ต่อรูป"),
    "widget.too_large": (
        "The file marked red is larger than 50 MB. Make it smaller and try again.",
        "ไฟล์ที่มีเครื่องหมายสีแดงใหญ่เกิน 50 MB กรุณาย่อให้เล็กลงแล้วลองใหม่",
    ),
    "widget.shoot": ("Take the photo", "ถ่ายรูป"),
    "widget.again": ("Take another", "ถ่ายใหม่"),
    # Pictures
    "classify.title": ("What is in the picture?", "ในรูปนี้คืออะไร"),
    "classify.source": ("Where is the picture?", "เลือกรูปจากไหน"),
    "classify.files": ("From files", "จากไฟล์"),
    "classify.camera": ("Take a photo", "ถ่ายรูป"),
    "classify.upload": (
        "Pictures ({formats})",
        "รูปภาพ ({formats})",
    ),
    "classify.shoot": ("Point the camera at one thing and take the photo", "หันกล้องไปที่สิ่งเดียว แล้วกดถ่ายรูป"),
    "classify.empty": (
        "Drop one picture, or a hundred. The answer appears here.",
        "วางรูปเดียวหรือร้อยรูปก็ได้ คำตอบจะแสดงที่นี่",
    ),
    "classify.working": ("Looking at the pictures: {done} of {total}", "กำลังดูรูป: {done} จาก {total}"),
    "classify.too_many": (
        "{n} pictures are too many at once; the first {most} were looked at. For more, use `whatsit predict MODEL FOLDER`.",
        "{n} รูปมากเกินไปต่อครั้ง จึงดูเฉพาะ {most} รูปแรก ถ้ามีมากกว่านี้ใช้คำสั่ง `whatsit predict MODEL FOLDER`",
    ),
    "classify.too_large": (
        "These pictures together are larger than {most} MB; those that did not fit were left out. Bring them in smaller lots.",
        "รูปทั้งหมดรวมกันใหญ่เกิน {most} MB จึงเว้นรูปที่เกินไว้ กรุณาแบ่งเป็นชุดเล็กลง",
    ),
    "classify.clear": ("Clear", "ล้าง"),
    "classify.photo": ("photo", "รูปถ่าย"),
    "answer.unknown": ("Unknown", "ไม่รู้จัก"),
    "answer.sure": ("{share} sure", "มั่นใจ {share}"),
    "answer.strange": (
        "It looks like nothing the model has learned. The nearest would be “{label}”, but do not count on it.",
        "ไม่เหมือนสิ่งใดที่โมเดลเคยเรียนรู้ ใกล้เคียงที่สุดคือ “{label}” แต่อย่าเพิ่งเชื่อ",
    ),
    "answer.unsure": ("Not sure: it could also be “{label}”.", "ไม่ค่อยแน่ใจ อาจเป็น “{label}” ก็ได้"),
    "answer.bars": ("How well each kind fits", "เหมือนแต่ละประเภทแค่ไหน"),
    "answer.more": ("Show all {n} kinds", "ดูทั้ง {n} ประเภท"),
    "answer.time": ("Answered in {time}", "ใช้เวลาตอบ {time}"),
    "answer.picture": ("the picture", "รูป"),
    "answer.evidence": ("the picture with what spoke for the answer shown bright", "รูปที่เน้นส่วนที่ทำให้ได้คำตอบนี้"),
    "answer.look": ("Where did it look?", "โมเดลมองตรงไหน"),
    "answer.look_help": (
        "Bright is what spoke for “{label}” (Grad-CAM). Is it the thing itself, or something beside it?",
        "ส่วนที่สว่างคือสิ่งที่ทำให้ตอบว่า “{label}” (Grad-CAM) เป็นตัวสิ่งของนั้นเอง หรือเป็นสิ่งที่อยู่ข้าง ๆ",
    ),
    "answer.unexplained": ("This model cannot show where it looked.", "โมเดลนี้แสดงไม่ได้ว่ามองตรงไหน"),
    "batch.title": ("{n} pictures in {time}", "{n} รูป ใช้เวลา {time}"),
    "batch.filter": ("Show only", "แสดงเฉพาะ"),
    "batch.least": ("At least this sure", "มั่นใจอย่างน้อย"),
    "batch.none": ("No picture fits this filter.", "ไม่มีรูปที่ตรงกับตัวกรองนี้"),
    "batch.pick": ("Tick a row to see the picture and where the model looked.", "เลือกแถวเพื่อดูรูปใหญ่และดูว่าโมเดลมองตรงไหน"),
    "batch.picture": ("Picture", "รูป"),
    "batch.file": ("File", "ไฟล์"),
    "batch.answer": ("Answer", "คำตอบ"),
    "batch.sure": ("Sure (%)", "มั่นใจ (%)"),
    "batch.second": ("Or else", "หรืออาจเป็น"),
    "batch.download": ("Download as CSV", "ดาวน์โหลดเป็น CSV"),
    "batch.failed": ("{n} could not be read", "อ่านไม่ได้ {n} ไฟล์"),
    # Pictures that cannot be read
    "error.title": ("“{name}” could not be read.", "อ่าน “{name}” ไม่ได้"),
    "error.empty": ("The file is empty.", "ไฟล์ว่างเปล่า"),
    "error.too_many_bytes": (
        "The file is too large. Make it smaller and try again.",
        "ไฟล์ใหญ่เกินไป กรุณาย่อให้เล็กลงแล้วลองใหม่",
    ),
    "error.too_many_pixels": (
        "The picture is too large: at most {millions} million pixels are read. Make it smaller and try again.",
        "รูปใหญ่เกินไป: อ่านได้ไม่เกิน {millions} ล้านพิกเซล กรุณาย่อรูปแล้วลองใหม่",
    ),
    "error.heic": (
        "Photos in HEIC cannot be read here. Save the photo as JPG or PNG and try again.",
        "ที่นี่อ่านรูป HEIC ไม่ได้ กรุณาบันทึกเป็น JPG หรือ PNG แล้วลองใหม่",
    ),
    "error.format": (
        "This is not a picture in a format we read ({formats}). Save it as JPG or PNG and try again.",
        "ไฟล์นี้ไม่ใช่รูปในชนิดที่อ่านได้ ({formats}) กรุณาบันทึกเป็น JPG หรือ PNG แล้วลองใหม่",
    ),
    "error.unsupported": (
        "This kind of picture file cannot be read. Save it as an ordinary JPG or PNG and try again.",
        "ยังอ่านไฟล์รูปแบบนี้ไม่ได้ กรุณาบันทึกเป็น JPG หรือ PNG ธรรมดาแล้วลองใหม่",
    ),
    "error.memory": (
        "The picture needs more memory than there is. Make it smaller and try again.",
        "หน่วยความจำไม่พอสำหรับรูปนี้ กรุณาย่อรูปแล้วลองใหม่",
    ),
    "error.damaged": (
        "The picture is damaged or cut short. Copy or download it again and try once more.",
        "ไฟล์รูปเสียหายหรือไม่ครบ ลองคัดลอกหรือดาวน์โหลดใหม่อีกครั้ง",
    ),
    "error.unreadable": ("The file cannot be opened.", "เปิดไฟล์นี้ไม่ได้"),
    # Live camera
    "live.title": ("Live camera", "กล้องสด"),
    "live.intro": (
        "Hold one thing in front of the camera. Each answer is of the picture at that moment.",
        "ถือสิ่งของหนึ่งชิ้นไว้หน้ากล้อง คำตอบแต่ละครั้งมาจากภาพ ณ ขณะนั้น",
    ),
    "live.start": ("Start the camera", "เปิดกล้อง"),
    "live.stop": ("Stop", "หยุด"),
    "live.flip": ("Other camera", "สลับกล้อง"),
    "live.rate": ("answers a second", "คำตอบต่อวินาที"),
    "live.starting": ("Starting the camera…", "กำลังเปิดกล้อง…"),
    "live.denied": (
        "The browser was not allowed to use the camera. Allow it in the address bar, then start again.",
        "เบราว์เซอร์ไม่ได้รับอนุญาตให้ใช้กล้อง กรุณาอนุญาตที่แถบที่อยู่ แล้วเปิดใหม่",
    ),
    "live.missing": ("No camera was found on this device.", "ไม่พบกล้องในอุปกรณ์นี้"),
    "live.busy": (
        "The camera cannot be used; another program may be using it.",
        "ใช้กล้องไม่ได้ อาจมีโปรแกรมอื่นใช้งานอยู่",
    ),
    "live.insecure": (
        "Browsers give the camera only to pages on this computer (127.0.0.1) or over https.",
        "เบราว์เซอร์ให้ใช้กล้องได้เฉพาะหน้าบนเครื่องนี้ (127.0.0.1) หรือผ่าน https เท่านั้น",
    ),
    "live.lost": (
        "No answer comes. Is the app still running, and the model still there?",
        "ไม่มีคำตอบกลับมา แอปยังทำงานอยู่หรือไม่ และโมเดลยังอยู่หรือไม่",
    ),
    # About the model
    "facts.title": ("How good is this model?", "โมเดลนี้ดีแค่ไหน"),
    "facts.none": ("This model file holds no test figures.", "ไฟล์โมเดลนี้ไม่มีผลการทดสอบ"),
    "facts.right": ("of {n} test pictures right", "ตอบถูกจากรูปทดสอบ {n} รูป"),
    "facts.top5": ("have the right kind among the first five", "มีคำตอบถูกอยู่ในห้าอันดับแรก"),
    "facts.off": (
        "is how far its confidence is from how often it is right, on average",
        "คือส่วนต่างเฉลี่ยระหว่างความมั่นใจที่บอกกับที่ตอบถูกจริง",
    ),
    "facts.size": ("model file", "ขนาดไฟล์โมเดล"),
    "facts.honest": (
        "Measured on pictures set aside before training. The range says where the true figure lies 95 times in 100: "
        "with few test pictures it is wide.",
        "วัดจากรูปที่กันไว้ก่อนการฝึก ช่วงตัวเลขบอกว่าค่าจริงอยู่ในช่วงนั้น 95 ครั้งใน 100 ครั้ง ถ้ารูปทดสอบน้อย ช่วงจะกว้าง",
    ),
    "checks.title": ("Good enough?", "ดีพอหรือยัง"),
    "checks.all": ("Yes: all {n} criteria are met", "ดีพอ: ผ่านเกณฑ์ครบ {n} ข้อ"),
    "checks.missed": ("Not yet: {missed} of {n} criteria are not met", "ยังไม่พอ: ไม่ผ่าน {missed} จาก {n} ข้อ"),
    "checks.untold": (
        "Cannot be told: {untold} of {n} criteria need test pictures of every kind",
        "ยังบอกไม่ได้: {untold} จาก {n} ข้อต้องมีรูปทดสอบของทุกประเภท",
    ),
    "checks.lack": ("no test pictures of {labels}", "ไม่มีรูปทดสอบของ {labels}"),
    "checks.cannot": ("cannot be told", "บอกไม่ได้"),
    "checks.what": ("Criterion", "เกณฑ์"),
    "checks.wanted": ("Wanted", "ต้องการ"),
    "checks.found": ("Found", "วัดได้"),
    "checks.pass": ("met", "ผ่าน"),
    "checks.fail": ("not met", "ไม่ผ่าน"),
    "checks.uncertain": ("met, but there are too few test pictures to be certain", "ผ่าน แต่รูปทดสอบน้อยเกินไปที่จะแน่ใจ"),
    "check.baseline_accuracy": ("right answers (trained from scratch)", "ตอบถูก (ฝึกจากศูนย์)"),
    "check.transfer_accuracy": ("right answers (pretrained network)", "ตอบถูก (ต่อยอดจากโมเดลที่ฝึกแล้ว)"),
    "check.class_precision": ("answers that are right, in the weakest kind", "คำตอบที่ถูก ในประเภทที่อ่อนที่สุด"),
    "check.class_recall": ("pictures that are found, in the weakest kind", "รูปที่หาเจอ ในประเภทที่อ่อนที่สุด"),
    "check.seconds_per_picture": ("time for one picture", "เวลาต่อหนึ่งรูป"),
    "check.accuracy": ("right answers", "ตอบถูก"),
    "check.top5_accuracy": ("the right kind among the first five", "มีคำตอบถูกอยู่ในห้าอันดับแรก"),
    "check.macro_f1": ("found and right together, every kind alike", "หาเจอและตอบถูกรวมกัน ทุกประเภทเท่ากัน"),
    "check.weighted_f1": ("found and right together, by number of pictures", "หาเจอและตอบถูกรวมกัน ตามจำนวนรูป"),
    "check.loss": ("error on the test pictures (lower is better)", "ค่าความผิดพลาดกับรูปทดสอบ (ยิ่งต่ำยิ่งดี)"),
    "check.calibration_error": ("how far its confidence is off", "ความมั่นใจคลาดเคลื่อนแค่ไหน"),
    "check.model_mb": ("size of the model file", "ขนาดไฟล์โมเดล"),
    "check.test_pictures": ("pictures it was tested on", "จำนวนรูปทดสอบ"),
    "kinds.title": ("Each kind", "แต่ละประเภท"),
    "kinds.help": (
        "**Found**: of all pictures of a kind, how many it recognised. **Right**: of all answers with that kind, how many are "
        "true. The lines are the ranges of 95 %.",
        "**หาเจอ**: จากรูปทั้งหมดของประเภทนั้น จำได้กี่เปอร์เซ็นต์ **ตอบถูก**: เมื่อตอบว่าเป็นประเภทนั้น ถูกกี่เปอร์เซ็นต์ "
        "เส้นคือช่วงความเชื่อมั่น 95 %",
    ),
    "kinds.found": ("found", "หาเจอ"),
    "kinds.right": ("right", "ตอบถูก"),
    "kinds.kind": ("kind", "ประเภท"),
    "kinds.n": ("test pictures", "รูปทดสอบ"),
    "kinds.worst": ("The {n} weakest of {all} kinds.", "{n} ประเภทที่อ่อนที่สุดจาก {all} ประเภท"),
    "mixed.title": ("What is taken for what", "สับสนอะไรกับอะไร"),
    "mixed.help": (
        "Each row is what the pictures truly are, each column what the model said. On the diagonal it was right.",
        "แต่ละแถวคือของจริง แต่ละคอลัมน์คือคำตอบของโมเดล ในแนวทแยงคือคำตอบที่ถูก",
    ),
    "mixed.true": ("what it is", "ของจริง"),
    "mixed.said": ("what the model said", "คำตอบของโมเดล"),
    "mixed.count": ("pictures", "จำนวนรูป"),
    "mixed.share": ("share of the row", "สัดส่วนของแถว"),
    "mixed.most": (
        "“{one}” and “{other}” are mixed up most often: {count} times.",
        "สับสน “{one}” กับ “{other}” บ่อยที่สุด: {count} ครั้ง",
    ),
    "mixed.never": ("It made no mistake on the test pictures.", "ไม่ผิดเลยในรูปทดสอบ"),
    "worst.title": ("The worst mistakes", "ความผิดพลาดที่หนักที่สุด"),
    "worst.help": (
        "Wrong answers it was most sure of; bright is where it looked. Is the picture in the wrong folder, or the model wrong?",
        "คำตอบผิดที่มั่นใจที่สุด ส่วนสว่างคือที่ที่โมเดลมอง รูปอยู่ผิดโฟลเดอร์ หรือโมเดลตอบผิดกันแน่",
    ),
    "worst.caption": ("said “{answer}” ({share}), is “{label}”", "ตอบ “{answer}” ({share}) แต่จริง ๆ คือ “{label}”"),
    "worst.elsewhere": (
        "The learning curves and the worst mistakes lie in the run folder; open that instead to see them.",
        "กราฟการเรียนรู้และความผิดพลาดที่หนักที่สุดอยู่ในโฟลเดอร์ผลการฝึก เปิดโฟลเดอร์นั้นแทนไฟล์โมเดลเพื่อดู",
    ),
    "belief.title": ("Can its confidence be believed?", "เชื่อความมั่นใจของโมเดลได้ไหม"),
    "belief.help": (
        "On the dashed line, answers it is 80 % sure of are right 80 % of the time. Larger dots stand for more answers.",
        "บนเส้นประ คำตอบที่มั่นใจ 80 % จะถูก 80 % ของทั้งหมด จุดใหญ่คือมีคำตอบมาก",
    ),
    "belief.sure": ("how sure it was", "ความมั่นใจที่บอก"),
    "belief.right": ("how often it was right", "ตอบถูกจริง"),
    "curves.title": ("How it learned", "โมเดลเรียนรู้อย่างไร"),
    "curves.help": (
        "One round is one pass over all training pictures. If training goes on improving while the check gets worse, it learns "
        "by heart. The dotted line marks the round that was kept.",
        "หนึ่งรอบคือการดูรูปฝึกครบทุกรูปหนึ่งครั้ง ถ้าผลการฝึกดีขึ้นแต่ผลตรวจแย่ลง แปลว่าโมเดลท่องจำ เส้นจุดคือรอบที่เลือกใช้",
    ),
    "curves.round": ("round", "รอบ"),
    "curves.accuracy": ("right answers", "ตอบถูก"),
    "curves.loss": ("error (lower is better)", "ค่าความผิดพลาด (ยิ่งต่ำยิ่งดี)"),
    "curves.train": ("training", "ฝึก"),
    "curves.check": ("check", "ตรวจ"),
    "made.title": ("What it was made of", "สร้างจากอะไร"),
    "made.kind": ("Kind", "ประเภท"),
    "made.train": ("to learn from", "ใช้ฝึก"),
    "made.validation": ("to check while learning", "ใช้ตรวจระหว่างฝึก"),
    "made.test": ("to test", "ใช้ทดสอบ"),
    "made.card": ("Download the model card", "ดาวน์โหลดเอกสารโมเดล"),
    "made.report": ("Download the full report", "ดาวน์โหลดรายงานฉบับเต็ม"),
    # Gradio, which chooses between the languages in the browser
    "gradio_local": (
        "Your pictures are looked at and forgotten within the hour: nothing is sent on.",
        "รูปของคุณใช้เพื่อตอบเท่านั้น และลบภายในหนึ่งชั่วโมง ไม่ส่งต่อไปที่อื่น",
    ),
    "gradio_picture": ("A picture", "รูปเดียว"),
    "gradio_bring": ("Bring a picture", "เลือกรูป"),
    "gradio_shares": ("How well each kind fits", "เหมือนแต่ละประเภทแค่ไหน"),
    "gradio_evidence": (
        "Where it looked: bright is what spoke for the answer",
        "โมเดลมองตรงไหน: ส่วนสว่างคือสิ่งที่ทำให้ตอบเช่นนี้",
    ),
    "gradio_examples": ("Try one of these", "ลองรูปเหล่านี้"),
    "gradio_live": ("Live camera", "กล้องสด"),
    "gradio_camera": ("Hold one thing in front of the camera", "ถือสิ่งของหนึ่งชิ้นไว้หน้ากล้อง"),
    "gradio_many": ("Many pictures", "หลายรูป"),
    "gradio_files": ("Bring many pictures", "เลือกหลายรูป"),
    "gradio_answers": ("Answers", "คำตอบ"),
    "gradio_csv": ("As CSV", "เป็น CSV"),
    # The page of the service
    "api.title": ("What is in the picture?", "ในรูปนี้คืออะไร"),
    "api.choose": ("Choose a picture", "เลือกรูป"),
    "api.drop": ("or drop it here", "หรือลากมาวางที่นี่"),
    "api.unknown": ("I don't know this", "ไม่รู้จักสิ่งนี้"),
    "api.nearest": ("nearest:", "ใกล้เคียงที่สุด:"),
    "api.evidence": ("What speaks for the answer", "ส่วนที่ทำให้ตอบเช่นนี้"),
    "api.models": ("Model", "โมเดล"),
    "api.key": ("API key", "รหัส API"),
    "api.docs": ("For programs:", "สำหรับโปรแกรม:"),
    "api.failed": ("That did not work:", "ไม่สำเร็จ:"),
    "api.working": ("Looking …", "กำลังดู …"),
    "api.local": (
        "The picture is looked at and forgotten: nothing is saved, nothing is sent on.",
        "รูปใช้เพื่อตอบเท่านั้น ไม่มีการบันทึกและไม่ส่งต่อไปที่อื่น",
    ),
}
