"""What states, steps and queues are called for people."""

from contracts.lifecycle import Status
from contracts.vocabulary import TaskKind

STATUS_NAMES: dict[str, str] = {
    Status.SUBMITTED: "已收到",
    Status.TRIAGED: "已受理",
    Status.ORDERED: "已交办",
    Status.SENT: "已送达承办单位",
    Status.SIGNED: "承办单位已签收",
    Status.IN_PROGRESS: "办理中",
    Status.ANSWERED: "已答复",
    Status.RESOLVED: "已有办理结果",
    Status.NOT_ACCEPTED: "不予受理",
    Status.WITHDRAWING: "撤回处理中",
    Status.WITHDRAWN: "已撤回",
    Status.FINISHED: "已办结",
    Status.CLOSED: "已归档",
}

STEP_NAMES: dict[str, str] = {
    "received": "收到",
    "accepted": "受理",
    "handed_over": "交办",
    "signed": "签收",
    "progress": "办理进展",
    "question": "承办单位询问",
    "answered": "答复",
    "resolved": "办理结果",
    "finished_ask_rating": "办结",
    "reopened": "重新办理",
    "closed": "归档",
    "withdrawn": "撤回",
    "withdrawal_too_late": "撤回未成",
    "not_accepted": "不予受理",
    "grouped": "合并办理",
    "danger_ring": "紧急求助",
    "declined": "未能办理的请求",
}

DECLINED = {
    "closed": "办件已归档，这次补充未能并入；需要时请另行求助。",
    "finished": "办件已有结果，不能撤回。",
    "withdrawing": "撤回已在处理中。",
    "not_finished": "办结之后才能评价。",
    "rated_or_closed": "这次办理已有评价，或已归档。",
    "erased": "个人信息已清除，不能再补充；需要时请另行求助。",
    "handled": "办件还在办理，现在不能清除个人信息；归档后可以再申请。",
    "withdrawal": "情况紧急，值班人员决定继续办理，未予撤回。",
    "other": "这项请求现在无法办理。",
}
"""Why a wish was declined, by the ground that triage gives."""

WISH_NAMES = {
    "supplement.given": "补充内容",
    "withdrawal.requested": "撤回申请",
    "rating.given": "评价",
    "erasure.requested": "清除个人信息的申请",
}

UNTRIAGED = "untriaged"
BLOCKED = "blocked"
QUEUE_NAMES: dict[str, str] = {
    UNTRIAGED: "待受理",
    BLOCKED: "记录受阻，待修复",
    TaskKind.ANSWER: "待答复",
    TaskKind.CLASSIFY: "待归类",
    TaskKind.ROUTE: "待定承办单位",
    TaskKind.JUDGE: "待研判",
    TaskKind.RETURNED: "退单待处理",
    TaskKind.WITHDRAWAL: "撤回待定",
    TaskKind.REOPENED: "重办待处理",
    TaskKind.DISSATISFIED: "不满意待处理",
    TaskKind.HOLLOW: "结果待核实",
    TaskKind.VISIT: "待回访",
    TaskKind.UNDELIVERABLE: "未送达待处理",
    TaskKind.EXTENSION: "延期待定",
    TaskKind.QUESTION: "询问待转达",
    TaskKind.SUPPLEMENT: "补充待处理",
    TaskKind.CONFLICT: "重号待核实",
    TaskKind.INQUIRY: "征询逾期",
    TaskKind.OVERDUE: "逾期待处理",
    TaskKind.ERASURE: "清除申请待处理",
}
