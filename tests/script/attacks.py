"""The table of attacks: what a hostile script tries, and what must come of it.

`must` names the outcomes that count as held: the type of the script's error ("PermissionError"), one of ours
("ScriptTimeout", "ScriptKilled"), or "value ..." with what the script returned. The payload each script gets is a map:
pids of the zygote, of a bystander worker and of a victim process, paths and a port of things it must not reach.
"""

import platform
from dataclasses import dataclass

# Raw system calls: a worker holds even when the script has found its way to ctypes.
_NUMBERS = {
    "x86_64": {
        "ptrace": 101, "process_vm_readv": 310, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298, "add_key": 248,
        "unshare": 272, "mount": 165, "setns": 308, "open_by_handle_at": 304, "memfd_create": 319, "prctl": 157,
        "mmap": 9, "mprotect": 10, "prlimit64": 302, "shmget": 29, "msgget": 68, "tgkill": 234, "dup": 32,
        "execveat": 322, "socket": 41, "init_module": 175, "kexec_load": 246, "timer_create": 222, "personality": 135,
    },
    "aarch64": {
        "ptrace": 117, "process_vm_readv": 270, "bpf": 280, "userfaultfd": 282, "perf_event_open": 241, "add_key": 217,
        "unshare": 97, "mount": 40, "setns": 268, "open_by_handle_at": 265, "memfd_create": 279, "prctl": 167,
        "mmap": 222, "mprotect": 226, "prlimit64": 261, "shmget": 194, "msgget": 186, "tgkill": 131, "dup": 23,
        "execveat": 281, "socket": 198, "init_module": 105, "kexec_load": 104, "timer_create": 107, "personality": 92,
    },
}[platform.machine()] | {
    "io_uring_setup": 425, "clone3": 435, "openat2": 437, "pidfd_open": 434, "pidfd_getfd": 438,
    "pidfd_send_signal": 424, "landlock_create_ruleset": 444, "memfd_secret": 447,
}  # fmt: skip


@dataclass(frozen=True)
class Attack:
    name: str
    script: str
    must: tuple[str, ...] = ("PermissionError",)
    language: str = "python"


def _raw(name: str, arguments: str = "0, 0, 0, 0, 0") -> Attack:
    return Attack(
        f"raw {name}",
        f"""
import os
import flowcore.script.lockdown as lockdown
ct = lockdown.ctypes
libc = ct.CDLL(None, use_errno=True)
p = msg.payload
buffer = ct.create_string_buffer(b"/etc/passwd", 4096)
libc.syscall.restype = ct.c_long
if libc.syscall(ct.c_long({_NUMBERS[name]}), *[ct.c_long(a) if isinstance(a, int) else a for a in ({arguments},)]) >= 0:
    return "got through"
raise OSError(ct.get_errno(), "refused")
""",
    )


_CHANNEL = """
import os, struct, json
from flowcore.bus.envelope import pack
def frame(value, length=None):
    data = pack(value)
    return struct.pack(">I", len(data) if length is None else length) + data
"""

ATTACKS = [
    # -- files
    Attack("read a file", "return open('/etc/passwd').read()"),
    Attack("read a file by os", "import os\nreturn os.read(os.open('/etc/passwd', 0), 10)"),
    Attack("write a file", "open(msg.payload['canary'], 'w').write('x')"),
    Attack("make a file in /tmp", "open('/tmp/flowcore-attack', 'x')"),
    Attack("list a folder", "import os\nreturn os.listdir('/')"),
    Attack("see whether a file is there", "import os\nreturn os.path.exists('/etc/passwd')", ("value False",)),
    Attack("remove a file", "import os\nos.remove(msg.payload['canary'])"),
    Attack("change a file's mode", "import os\nos.chmod(msg.payload['canary'], 0o777)"),
    Attack("rename a file", "import os\nos.rename(msg.payload['canary'], '/tmp/flowcore-attack')"),
    Attack("make a link", "import os\nos.symlink('/etc/passwd', '/tmp/flowcore-attack')"),
    Attack("make a folder", "import os\nos.mkdir('/tmp/flowcore-attack')"),
    Attack("chdir", "import os\nos.chdir('/')"),
    Attack("chroot", "import os\nos.chroot('/tmp')"),
    Attack("make a fifo", "import os\nos.mkfifo('/tmp/flowcore-attack')"),
    Attack("a device", "return open('/dev/mem', 'rb').read(1)"),
    _raw("openat2", "-100, buffer, buffer, 24"),
    _raw("open_by_handle_at"),
    _raw("memfd_create", "buffer, 0"),
    _raw("memfd_secret"),
    # -- /proc, environment, descriptors, credentials
    Attack("read /proc/self/environ", "return open('/proc/self/environ').read()"),
    Attack("read the zygote's environment", "return open(f\"/proc/{msg.payload['zygote']}/environ\").read()"),
    Attack("read the victim's memory", "return open(f\"/proc/{msg.payload['victim']}/mem\", 'rb').read(1)"),
    Attack("list /proc", "import os\nreturn os.listdir('/proc')"),
    Attack("open another's descriptor", "return open(f\"/proc/{msg.payload['zygote']}/fd/3\", 'rb')"),
    Attack(
        "look for a credential in the environment",
        "import os\nreturn [v for v in os.environ.values() if 'canary' in v]",
        ("value []",),
    ),
    Attack(
        "look for a credential in memory",
        """
import gc, sys
wanted = 'cana' + 'ry-secret'
seen, todo, found = set(), [*gc.get_objects(), *sys.modules.values()], 0
while todo and len(seen) < 300_000:
    thing = todo.pop()
    if id(thing) in seen:
        continue
    seen.add(id(thing))
    found += (isinstance(thing, str) and wanted in thing) or (isinstance(thing, bytes) and wanted.encode() in thing)
    todo.extend(gc.get_referents(thing))
return int(found)
""",
        ("value 0",),
    ),
    Attack(
        "use inherited descriptors",
        """
import os
usable = []
for fd in range(4, 300):
    for use in (lambda: os.read(fd, 1), lambda: os.write(fd, b'x'), lambda: os.dup(fd), lambda: os.fstat(fd)):
        try:
            use()
            usable.append(fd)
        except OSError:
            pass
return usable
""",
        ("value []",),
    ),
    Attack("read standard input", "import os\nreturn os.read(0, 100)", ("value b''",)),
    Attack("duplicate a descriptor", "import os\nos.dup(3)"),
    Attack("import the bus", "import flowcore.bus.connection", ("ModuleNotFoundError",)),
    Attack("import a library that is not there", "import sqlite3", ("ModuleNotFoundError",)),
    # -- sockets
    Attack(
        "connect by TCP",
        "import flowcore.script.probe as p\np.socket.create_connection(('127.0.0.1', msg.payload['port']), 1)",
        ("PermissionError", "gaierror"),
    ),
    Attack("a UDP socket", "import flowcore.script.probe as p\np.socket.socket(p.socket.AF_INET, p.socket.SOCK_DGRAM)"),
    Attack(
        "connect to the zygote",
        "import flowcore.script.probe as p\n"
        "p.socket.socket(p.socket.AF_UNIX, p.socket.SOCK_SEQPACKET).connect(msg.payload['socket'])",
    ),
    Attack("a socket pair", "import flowcore.script.probe as p\np.socket.socketpair()"),
    Attack("pass descriptors", "import flowcore.script.probe as p\np.socket.socket(fileno=3)"),
    _raw("socket", "16, 3, 0"),
    # -- processes and signals
    Attack("fork", "import os\nreturn os.fork()"),
    Attack("exec", "import os\nos.execv('/bin/sh', ['sh', '-c', 'true'])"),
    Attack("spawn", "import os\nos.posix_spawn('/bin/true', ['true'], {})"),
    Attack("a shell", "import os\nreturn os.system('true')", ("value -1", "value 32512")),
    Attack("subprocess", "import subprocess\nsubprocess.run(['true'])", ("ModuleNotFoundError", "PermissionError")),
    Attack("a thread",
           "import threading\nthreading.Thread(target=print).start()", ("RuntimeError", "ModuleNotFoundError")),
    Attack("kill everything", "import os\nos.kill(-1, 9)"),
    Attack("kill the zygote", "import os\nos.kill(msg.payload['zygote'], 9)"),
    Attack("kill another script", "import os\nos.kill(msg.payload['bystander'], 9)"),
    Attack("kill a process of the same user", "import os\nos.kill(msg.payload['victim'], 9)"),
    _raw("tgkill", "p['victim'], p['victim'], 9"),
    _raw("pidfd_open", "p['zygote'], 0"),
    _raw("pidfd_getfd", "3, 0, 0"),
    _raw("pidfd_send_signal", "3, 9, 0, 0"),
    _raw("clone3", "buffer, 88"),
    _raw("execveat", "-100, buffer, 0, 0, 0"),
    _raw("ptrace", "16, p['zygote'], 0, 0"),
    _raw("process_vm_readv", "p['victim'], buffer, 1, buffer, 1, 0"),
    # -- the kernel
    _raw("io_uring_setup", "8, buffer"),
    _raw("bpf", "0, buffer, 48"),
    _raw("userfaultfd", "1"),
    _raw("perf_event_open"),
    _raw("add_key", "buffer, buffer, buffer, 4, -3"),
    _raw("unshare", "0x10000000"),
    _raw("mount"),
    _raw("setns", "3, 0"),
    _raw("init_module"),
    _raw("kexec_load"),
    _raw("timer_create"),
    _raw("personality", "0x40000"),
    _raw("shmget", "0, 4096, 0o1600"),
    _raw("msgget", "0, 0o1600"),
    _raw("prctl", "4, 1"),
    _raw("landlock_create_ruleset", "0, 0, 1"),
    _raw("prlimit64", "0, 9, buffer, 0"),
    _raw("mmap", "0, 4096, 7, 0x22, -1, 0"),
    _raw("mprotect", "ct.addressof(buffer) & ~4095, 4096, 7"),
    Attack("become root", "import os\nos.setresuid(0, 0, 0)"),
    # -- memory
    Attack("8 GB at once", "x = bytearray(8 << 30)", ("MemoryError",)),
    Attack("8 GB bit by bit", "x = []\nwhile True: x.append(bytes(1 << 20))", ("MemoryError",)),
    Attack("many small things", "x = []\nwhile True: x.append([x])", ("MemoryError", "ScriptTimeout")),
    Attack("a long text", "x = 'x' * 1_000\nwhile True: x += x", ("MemoryError",)),
    Attack(
        "recursion without end",
        "import sys\nsys.setrecursionlimit(10**8)\ndef f(): return f() + f()\nreturn f()",
        ("ScriptKilled", "MemoryError", "ScriptTimeout"),
    ),
    Attack("recursion", "def f(): return f()\nreturn f()", ("RecursionError",)),
    Attack("recursion in C", "x = []\nfor _ in range(10**6): x = [x]\nreturn repr(x)",
           ("RecursionError", "ScriptTimeout")),
    # -- time
    Attack("an endless loop", "while True: pass", ("ScriptTimeout",)),
    Attack(
        "an endless loop that catches all", "while True:\n  try:\n    while True: pass\n  except BaseException: pass",
        ("ScriptTimeout",),
    ),
    Attack(
        "an endless loop that ignores signals",
        "import signal\nfor s in range(1, 32):\n  try: signal.signal(s, signal.SIG_IGN)\n"
        "  except (OSError, ValueError): pass\nwhile True: pass",
        ("ScriptTimeout",),
    ),
    Attack("sleep for ever", "time.sleep(3600)", ("ScriptTimeout",)),
    Attack("a regular-expression bomb", "return re.match(r'(a+)+$', 'a' * 60 + 'b')", ("ScriptTimeout",)),
    Attack("a large power", "return 3 ** (10 ** 9)", ("ScriptTimeout", "MemoryError")),
    Attack(
        "an error whose text never ends",
        "class E(Exception):\n  def __str__(self):\n    while True: pass\nraise E()",
        ("ScriptTimeout",),
    ),
    Attack(
        "forge the number on the page",
        "import sys\nsys._getframe(1).f_locals['page'][0] = 1 << 60\nwhile True: pass",
        ("ScriptTimeout",),
    ),
    Attack(
        "count on the page",
        "import sys\npage = sys._getframe(1).f_locals['page']\nwhile True: page[0] += 1",
        ("ScriptTimeout",),
    ),
    # -- replies
    Attack("a large payload", "return bytes(1 << 20)", ("ValueError",)),
    Attack("many outputs", "for i in range(10**7): node.send(i)", ("ValueError",)),
    Attack("outputs without end", "while True:\n  yield 1", ("ValueError",)),
    Attack("a deep payload", "x = []\nfor _ in range(100): x = [x]\nreturn x", ("TooMuch",)),
    Attack("a payload of empty maps", "return [{} for _ in range(100_000)]", ("TooMuch",)),
    Attack("a payload that holds itself", "x = []\nx.append(x)\nreturn x", ("ValueError",)),
    Attack("deep meta", "x = {}\nfor _ in range(100): x = {'a': x}\nmsg.meta = x\nreturn msg", ("TooMuch",)),
    Attack("much context", "context.set('x', bytes(1 << 20))", ("ValueError",)),
    Attack("many lines", "for i in range(10**5): print('x' * 1000)\nreturn 'done'", ("value 'done'", "ScriptTimeout")),
    Attack("a long line", "print('x' * 10**7)\nnode.log('x' * 10**7)\nreturn 'done'", ("value 'done'",)),
    Attack("a long error", "raise ValueError('x' * 10**7)", ("ValueError",)),
    Attack("a long error type", "raise type('X' * 10**6, (Exception,), {})()", ("X" * 100,)),
    Attack("frames without end", _CHANNEL + "while True: os.write(3, frame([12, 1, [None]]))",
           ("value None",)),  # the first is its own result; the flood after it ends the worker
    Attack("questions without end", _CHANNEL + "while True: os.write(3, frame([14, 'flow', 'get', 'x', 0]))",
           ("ScriptKilled", "ScriptTimeout")),
    Attack("a frame of 4 GB", _CHANNEL + "os.write(3, b'\\xff' * 8)\nwhile True: os.write(3, bytes(1000))",
           ("ScriptKilled",)),
    Attack("a frame that is none", _CHANNEL + "os.write(3, b'\\0\\0\\0\\4\\xc1\\xc1\\xc1\\xc1')\ntime.sleep(60)",
           ("ScriptKilled",)),
    Attack("another's results", _CHANNEL + "os.write(3, frame([12, 99, [None]]))\ntime.sleep(60)", ("ScriptKilled",)),
    Attack("an output that is not there", _CHANNEL + "import sys\nbase = sys._getframe(1).f_locals['base']\n"
           "os.write(3, frame([12, base, [[[[77, 1, '', {}]], {}, [], None]]]))\ntime.sleep(60)", ("ScriptKilled",)),
    Attack("a half frame", _CHANNEL + "os.write(3, b'\\0\\0\\1\\0abc')\ntime.sleep(60)", ("ScriptTimeout",)),
    Attack("a bomb of a frame", _CHANNEL + "os.write(3, struct.pack('>I', 1 << 20) + b'\\xdd\\0\\x0f\\xff\\xfb')\n"
           "left = (1 << 20) - 5\nwhile left: left -= os.write(3, b'\\x80' * min(left, 65536))\ntime.sleep(60)",
           ("ScriptKilled",)),
    # -- leaving
    Attack("leave by sys.exit", "import sys\nsys.exit(3)", ("SystemExit",)),
    Attack("leave by os._exit", "import os\nos._exit(3)", ("ScriptKilled",)),
    Attack("abort", "import os\nos.abort()", ("ScriptKilled",)),
    Attack("hang up", "import os\nos.close(3)\nos._exit(0)", ("ScriptKilled", "PermissionError")),
    Attack("KeyboardInterrupt", "raise KeyboardInterrupt", ("KeyboardInterrupt",)),
]  # fmt: skip

if platform.machine() == "x86_64":
    ATTACKS.append(
        Attack(
            "the x32 ABI",
            "import flowcore.script.lockdown as l\nl.ctypes.CDLL(None).syscall(l.ctypes.c_long(0x40000027))\nreturn 1",
            ("ScriptKilled",),
        )
    )


def _js(name: str, script: str, *must: str) -> Attack:
    return Attack(f"JavaScript: {name}", script, must, "javascript")


_STOPPED = ("ScriptTimeout",)
_ENDED = ("ScriptTimeout", "ScriptKilled")  # what the engine can't be stopped in ends with its worker

ATTACKS += [
    # -- time
    _js("an endless loop", "while (true);", *_STOPPED),
    _js("a loop that catches all", "while (true) { try { while (true); } catch { } finally { while (true); } }",
        *_STOPPED),
    _js("a regular-expression bomb", "return {payload: /(a+)+$/.test('a'.repeat(60) + 'b')}", *_STOPPED),
    _js("a bomb in replace", "return {payload: ('a'.repeat(60) + 'b').replace(/(a|aa|a?)+$/g, 'x')}", *_STOPPED),
    _js("a getter without end", "return {get payload() { while (true); }}", *_STOPPED),
    _js("toJSON without end", "return {payload: {toJSON() { while (true); }}}", *_STOPPED),
    _js("a proxy without end", "return {payload: new Proxy({}, {ownKeys() { while (true); }})}", *_STOPPED),
    _js("an error whose text never ends", "throw {get stack() { while (true); }, toString() { while (true); }}",
        *_STOPPED, "Error"),
    _js("an error that is a trap", "const e = new Error(); "
        "Object.defineProperty(e, 'message', {get() { while (true); }}); throw e", *_STOPPED),
    _js("promises without end", "(function f() { Promise.resolve().then(f); })()", *_ENDED),
    _js("an async loop", "for (;;) await null;", *_ENDED),
    _js("a thenable that never settles", "return {then() { }}", "Error"),
    _js("timers without end", "const f = () => setTimeout(f, 0); f(); await new Promise(() => 0);", *_STOPPED),
    _js("native work without end", "return {payload: [].indexOf.call({length: 2 ** 52}, 1)}", *_STOPPED),
    _js("sorting without end", "return {payload: [3, 2, 1].sort(() => { while (true); })}", *_STOPPED),
    _js("a large power", "return {payload: 3n ** 100000000n}", *_ENDED, "RangeError", "InternalError"),
    # -- memory
    _js("memory bit by bit", "const a = []; while (true) a.push(new Uint8Array(1 << 20));", "InternalError", "Error"),
    _js("a large text", "let t = 'x'; while (true) t += t;", "InternalError", "RangeError", *_ENDED),
    _js("a large array", "return {payload: new Array(2 ** 31).fill(1)}", "InternalError", *_ENDED),
    _js("a large buffer", "return {payload: new ArrayBuffer(2 ** 33)}", "InternalError", "RangeError"),
    _js("recursion", "function f() { return f() + 1; } return f()", "RangeError"),
    _js("recursion in C", "let a = []; for (let k = 0; k < 1e6; k++) a = [a]; return {payload: a}",
        "RangeError", *_ENDED),
    _js("recursion in a parser", "return {payload: JSON.parse('['.repeat(1e6))}", "RangeError", "SyntaxError"),
    _js("recursion that catches itself", "function f() { try { f(); } catch { f(); } } f()", *_ENDED, "RangeError"),
    # -- ways out
    _js("require", "return {payload: require('fs')}", "ReferenceError"),
    _js("import", "const fs = await import('fs'); return {payload: 1}", "ReferenceError", "SyntaxError", "Error"),
    _js("process", "return {payload: process.env}", "ReferenceError"),
    _js("what the global object has", "return {payload: ['std', 'os', 'process', 'require', 'ask', 'host', '__ask', "
        "'print', 'scriptArgs', 'fetch', 'Worker'].filter((name) => name in globalThis)}", "value []"),
    _js("the Function constructor", "return {payload: (() => 1).constructor('return typeof process')()}",
        "value 'undefined'"),
    _js("the closing bracket", "}); globalThis.mine = 1; (function () { return {payload: 1}", "value 1"),
    _js("the caller", "return {payload: [typeof arguments.callee.caller, node.send.caller === undefined]}",
        "value ['object', False]", "value ['undefined', True]", "TypeError"),
    _js("objects given in", "return {payload: [msg, node, node.send, context.get, env].map((o) => "
        "o.constructor.constructor('return this')() === globalThis)}", "value [True, True, True, True, True]"),
    # -- games with what the host relies on
    _js("a spoilt JSON", "JSON.stringify = () => '{}'; JSON.parse = () => ({}); return {payload: 'whole'}",
        "value 'whole'"),
    _js("a spoilt prototype", "for (const p of [Array.prototype, Object.prototype, String.prototype, "
        "Function.prototype, Promise.prototype, Map.prototype]) for (const n of Object.getOwnPropertyNames(p)) "
        "{ try { p[n] = () => { throw 1; }; } catch { } } return {payload: 1}",
        "value 1", "Error", "TypeError", *_ENDED),
    _js("a setter on every object", "Object.defineProperty(Object.prototype, 'payload', {set() { while (true); }}); "
        "return {payload: 1}", "value 1"),
    _js("a spoilt toJSON", "Object.prototype.toJSON = () => '[[7, 1]]'; return {payload: 1}", "TypeError"),
    _js("an output that is not there", "Object.prototype.toString = String.prototype.toString = () => 99; "
        "return [null, null, {payload: 1}]", "value None"),
    _js("marks of the host's", "const b = Buffer.from('x'); let m; JSON.stringify({toJSON() { m = 1; return b; }}); "
        "return {payload: '\\u0001000000000000t7'}", "value '\\x01000000000000t7'"),
    _js("__proto__ in the payload", "return JSON.parse('{\"payload\": {\"__proto__\": {\"x\": 1}}}')",
        "value {'__proto__': {'x': 1}}"),
    _js("a symbol for a key", "context.set(Symbol('x'), 1)", "TypeError"),
    _js("questions without end", "while (true) { try { flow.get('x'); } catch { } }", *_STOPPED),
    _js("an object for a question", "flow.get({toString() { return {}; }})", "TypeError"),
    _js("many notes", "for (let k = 0; k < 1e5; k++) node.warn('x'.repeat(1000)); return {payload: 'done'}",
        "value 'done'", *_STOPPED),
    _js("a large payload", "return {payload: 'x'.repeat(1 << 20)}", "ValueError", "RangeError"),
    _js("a deep payload", "let a = []; for (let k = 0; k < 100; k++) a = [a]; return {payload: a}", "TooMuch"),
    _js("a payload of empty maps", "return {payload: Array.from({length: 1e5}, () => ({}))}", "TooMuch", "ValueError"),
    _js("much context", "context.set('x', 'x'.repeat(1 << 20))", "ValueError"),
    # -- templates
    Attack("template: a way to Python", "{{ ''.__class__.__mro__[1].__subclasses__() }}",
           ("SecurityError",), "template"),
    Attack("template: through the message", "{{ msg.derive.__globals__ }}", ("SecurityError", "value ''"), "template"),
    Attack("template: through a filter", "{{ [1] | map(attribute='__class__.__base__') | list }}",
           ("SecurityError", "value '[<Undefined>]'", "value '[Undefined]'"), "template"),
    Attack("template: memory", "{{ 'x' * 10 ** 10 }}", ("MemoryError",), "template"),
    Attack("template: a file", "{% include '/etc/passwd' %}", ("TypeError", "TemplateNotFound"), "template"),
    Attack("expression: a file", "open('/etc/passwd').read()", ("PermissionError",), "expression"),
]  # fmt: skip

# What the kernel has to hold is tried without any privilege, too; a language's own limits are the same for everybody.
OF_THE_KERNEL = [attack for attack in ATTACKS if attack.language == "python"]
