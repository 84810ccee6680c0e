"""SSH server that accepts every password and then sends one packet forever.

The user name selects the stage and the packet: `login.ignore`. Stages:
login: before the reply to the password
command: instead of the output of the command
output: between the rows of a listing
rows: only a listing, with one packet for each row; the packet is the number of rows
half: only the first rows of a listing, and no exit status
signal: the same, and an exit signal without a name
methods: a list of login methods that is not UTF-8; no login succeeds
expired: a request to change the password, which has expired
question: keyboard-interactive; after the password, the packet is the next question
The first line of output is the port.
"""

import socket
import threading

import paramiko
from paramiko import common as ssh
from paramiko.message import Message

HEADING = b"Proto Recv-Q Send-Q Local Address Foreign Address State\n"
ROW = b"tcp 0 0 192.0.2.10:443 203.0.113.7:50000 ESTABLISHED\n"
OTHER_CHANNEL = 77
PASSWD_CHANGEREQ = 60


def packet(code, *fields):
    """Returns a packet of this message number."""
    message = Message()
    message.add_byte(bytes([code]))
    for field in fields:
        if isinstance(field, bool):
            message.add_boolean(field)
        elif isinstance(field, int):
            message.add_int(field)
        else:
            message.add_string(field)
    return message


def packets(channel):
    """Returns all packets by name; `channel` is the client's number of its channel."""
    return {
        "ignore": packet(ssh.MSG_IGNORE, b"x" * 1000),
        "debug": packet(ssh.MSG_DEBUG, True, b"x" * 1000, b""),
        "unknown-small": packet(200),
        "unknown-large": packet(200, b"x" * 30000),
        "zero": packet(0),
        "global": packet(ssh.MSG_GLOBAL_REQUEST, b"x@example.com", False),
        "global-reply": packet(ssh.MSG_GLOBAL_REQUEST, b"x@example.com", True),
        "data": packet(ssh.MSG_CHANNEL_DATA, OTHER_CHANNEL, b"x" * 1000),
        "error": packet(ssh.MSG_CHANNEL_EXTENDED_DATA, OTHER_CHANNEL, 1, b"x" * 1000),
        "stream": packet(ssh.MSG_CHANNEL_EXTENDED_DATA, channel, 2, b"x" * 1000),
        "empty": packet(ssh.MSG_CHANNEL_DATA, channel, b""),
        "adjust": packet(ssh.MSG_CHANNEL_WINDOW_ADJUST, channel, 0),
        "open": packet(ssh.MSG_CHANNEL_OPEN, b"session", 5, 1000, 1000),
        "success": packet(ssh.MSG_CHANNEL_SUCCESS, channel),
        "banner": packet(ssh.MSG_USERAUTH_BANNER, b"x" * 1000, b""),
    }


class Server(paramiko.ServerInterface):
    def __init__(self, transport):
        self.transport = transport

    def get_allowed_auths(self, username):
        if username.startswith("question"):
            return "keyboard-interactive"
        return b"\xff\xfe" if username.startswith("methods") else "password"

    def check_auth_interactive(self, username, submethods):
        self.question = username.split(".")[1]
        return paramiko.InteractiveQuery("", "", ("Password", False))

    def check_auth_interactive_response(self, responses):
        if responses == ["secret"]:
            return paramiko.InteractiveQuery("", "", (self.question, False))
        return paramiko.AUTH_FAILED

    def check_auth_password(self, username, password):
        self.stage, self.packet_name = username.split(".")
        if self.stage == "login":
            self.flood(0)
        if self.stage == "expired":
            self.send(packet(PASSWD_CHANGEREQ, b"choose a new one", b""))
            return paramiko.AUTH_FAILED
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind, channel_id):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        threading.Thread(target=self.run, args=(channel.remote_chanid,), daemon=True).start()
        return True

    def run(self, channel):
        if self.stage == "output":
            self.send(packet(ssh.MSG_CHANNEL_DATA, channel, HEADING))
        if self.stage in ("rows", "half", "signal"):
            self.list(channel)
        else:
            self.flood(channel)

    def list(self, channel):
        self.send(packet(ssh.MSG_CHANNEL_DATA, channel, HEADING))
        row = packet(ssh.MSG_CHANNEL_DATA, channel, ROW)
        for _ in range(int(self.packet_name)):
            self.send(row)
        request = ssh.MSG_CHANNEL_REQUEST
        if self.stage == "rows":
            self.send(packet(request, channel, b"exit-status", False, 0))
        if self.stage == "signal":
            self.send(packet(request, channel, b"exit-signal", False, b"", False, b"", b""))
        self.send(packet(ssh.MSG_CHANNEL_EOF, channel))
        self.send(packet(ssh.MSG_CHANNEL_CLOSE, channel))

    def flood(self, channel):
        message = packets(channel)[self.packet_name]
        row = packet(ssh.MSG_CHANNEL_DATA, channel, ROW)
        try:
            while True:
                for _ in range(20):
                    self.send(message)
                if self.stage == "output":
                    self.send(row)
        except (EOFError, OSError):
            pass

    def send(self, message):
        self.transport.packetizer.send_message(message)


def main():
    key = paramiko.ECDSAKey.generate()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        transport = paramiko.Transport(listener.accept()[0])
        transport.daemon = True
        transport.add_server_key(key)
        transport.start_server(event=threading.Event(), server=Server(transport))


main()
