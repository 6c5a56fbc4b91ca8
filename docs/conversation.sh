# Alice and Bob talk. Needs curl and Node.js 18 or later, whose npx fetches wscat, a public WebSocket client.
HTTP=http://127.0.0.1:8081
WS=ws://127.0.0.1:8080/ws
curl -s "$HTTP/api/system/health"; echo

# Both log in over HTTP, each on a device of their own, and keep their access tokens.
login() {
  curl -s "$HTTP/api/auth/login" -H 'Content-Type: application/json' \
    -d "{\"username\":\"$1\",\"password\":\"password\",\"device_id\":\"$1-laptop\",\"platform\":\"desktop\"}" |
    sed 's/.*"access_token":"\([^"]*\)".*/\1/'
}
ALICE=$(login alice)
BOB=$(login bob)

# says NAME TOKEN SECONDS MESSAGE: connects, sends one message, shows for some seconds what comes.
# wscat leaves when its input ends; a pipe that is opened both ways is an input that never does.
SILENCE=$(mktemp -u) && mkfifo "$SILENCE"
says() {
  npx --yes --loglevel=error wscat@6.1.0 -c "$WS" -H "Authorization: Bearer $2" -w "$3" -x "$4" <>"$SILENCE" 2>&1 | sed "s/^/$1 < /"
}

# Bob is away: the answer to Alice has the status offline.
says alice "$ALICE" 1 '{"cmd_id":2001,"seq":1,"data":{"to_user":"bob","content":"are you there?"}}'

# Bob comes, finds it and stays for a while. Alice writes again: now the status is sent, and he has it at once.
(says bob "$BOB" 8 '{"cmd_id":1,"seq":1,"data":{}}' &
  sleep 4
  says alice "$ALICE" 1 '{"cmd_id":2001,"seq":2,"data":{"to_user":"bob","content":"here I am"}}'
  wait)

# Both together, as one history.
says bob "$BOB" 1 '{"cmd_id":2002,"seq":2,"data":{"chat_id":"alice","limit":10}}'
rm -f "$SILENCE"
