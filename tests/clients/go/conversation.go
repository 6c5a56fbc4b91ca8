// The conversation of ../python/conversation.py, for Go's libraries: the same steps under the same names.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	// For any one answer.
	deadline = 15 * time.Second
	messages = 1000
	// Messages sent before their replies are read. The gateway works on 256 of one session at a time.
	batch = 100
	mib   = 1 << 20
	// Longer than 2.5 of the test's ping intervals of 2 s: a client that answers no ping is closed by then.
	quiet = 6 * time.Second
)

var (
	wsURL   = os.Getenv("GATEWAY_WS")
	httpURL = os.Getenv("GATEWAY_HTTP")
	user    = os.Getenv("CLIENT_USER")
	peer    = os.Getenv("CLIENT_PEER")
)

// event is a message if text is not empty, else the end of the connection.
type event struct {
	text   string
	code   int
	reason string
}

// socket is what the conversation needs of a library's connection. ping returns when the pong is there.
type socket interface {
	protocol() string
	send(text string) error
	fragments(parts []string) error
	ping(payload string) error
	close() error
}

// library is one of those tested. open sends what comes to events, and the end last.
type library struct {
	name   string
	cannot map[string]string
	open   func(url string, headers http.Header, protocols []string, events chan<- event) (socket, error)
}

type object = map[string]any

// difference ends the conversation: the gateway or the library did something else than the protocol says.
type difference string

func fail(format string, arguments ...any) {
	text := fmt.Sprintf(format, arguments...)
	panic(difference(text[:min(len(text), 1000)]))
}

func must(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func equal[T comparable](found, expected T, what string) {
	if found != expected {
		fail("%s: %.300v, expected %.300v", what, found, expected)
	}
}

// post sends one HTTP request, which has to succeed.
func post(path string, body object, headers ...string) object {
	data, _ := json.Marshal(body)
	request, err := http.NewRequest("POST", httpURL+path, bytes.NewReader(data))
	must(err, path)
	request.Header.Set("Content-Type", "application/json")
	for at := 0; at+1 < len(headers); at += 2 {
		request.Header.Set(headers[at], headers[at+1])
	}
	client := http.Client{Timeout: deadline}
	response, err := client.Do(request)
	must(err, path)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	must(err, path)
	if response.StatusCode != 200 {
		fail("%s: status %d: %s", path, response.StatusCode, answer)
	}
	var reply object
	must(json.Unmarshal(answer, &reply), path)
	return reply
}

func tokenOf(user, device string) string {
	login := object{"username": user, "password": "password", "device_id": device, "platform": "desktop"}
	return post("/api/auth/login", login)["access_token"].(string)
}

type message struct {
	CmdID int             `json:"cmd_id"`
	Seq   int             `json:"seq"`
	Code  int             `json:"code"`
	Raw   json.RawMessage `json:"data"`
	data  object
}

func (m message) is(cmdID int) bool { return m.CmdID == cmdID }

// person is one open connection, with the messages that came on it and that nobody has asked for yet.
type person struct {
	socket        socket
	events        chan event
	seq           int
	inbox         []message
	lastPushID    string
	authenticated bool
}

func arrive(library library, url string, headers http.Header, protocols ...string) *person {
	p := &person{events: make(chan event, 4*messages)}
	var err error
	p.socket, err = library.open(url, headers, protocols, p.events)
	must(err, "opening")
	welcome := p.wait("the welcome", func(m message) bool { return m.is(2) && m.data["event"] == "welcome" })
	p.authenticated = welcome.data["authenticated"].(bool)
	return p
}

func (p *person) next(what string) event {
	select {
	case came := <-p.events:
		return came
	case <-time.After(deadline):
		fail("%s did not come; came: %v", what, p.inbox)
		return event{}
	}
}

// wait returns the first message that is wanted; the others stay for later.
func (p *person) wait(what string, wanted func(message) bool) message {
	for at, m := range p.inbox {
		if wanted(m) {
			p.inbox = append(p.inbox[:at:at], p.inbox[at+1:]...)
			return m
		}
	}
	for {
		came := p.next(what)
		if came.text == "" {
			fail("closed with %d %q while %s was awaited", came.code, came.reason, what)
		}
		m := p.read(came.text)
		if wanted(m) {
			return m
		}
		p.inbox = append(p.inbox, m)
	}
}

// read parses a message and acknowledges it if it is a push.
func (p *person) read(text string) message {
	var m message
	must(json.Unmarshal([]byte(text), &m), "a message")
	var inner string
	if json.Unmarshal(m.Raw, &inner) == nil {
		m.Raw = json.RawMessage(inner)
	}
	_ = json.Unmarshal(m.Raw, &m.data) // of no interest where it is no object
	if m.is(5001) {
		p.lastPushID = m.data["push_id"].(string)
		must(p.socket.send(encode(object{"cmd_id": 5006, "data": object{"push_id": p.lastPushID}})), "an acknowledgement")
	}
	return m
}

func encode(value object) string {
	text, _ := json.Marshal(value)
	return string(text)
}

// post sends a command and returns the seq of its reply.
func (p *person) post(cmdID int, data object, fields ...string) int {
	p.seq++
	command := object{"cmd_id": cmdID, "seq": p.seq, "data": data}
	for at := 0; at+1 < len(fields); at += 2 {
		command[fields[at]] = fields[at+1]
	}
	must(p.socket.send(encode(command)), "sending")
	return p.seq
}

func (p *person) reply(seq int) message {
	what := fmt.Sprintf("the reply to %d", seq)
	return p.wait(what, func(m message) bool { return !m.is(2) && !m.is(5001) && m.Seq == seq })
}

func (p *person) command(cmdID int, data object, fields ...string) int {
	return p.reply(p.post(cmdID, data, fields...)).Code
}

// push returns the content of the next push.
func (p *person) push() string {
	return p.wait("a push", func(m message) bool { return m.is(5001) }).data["content"].(string)
}

// closed waits for the connection's end.
func (p *person) closed() event {
	for {
		if came := p.next("the end of the connection"); came.text == "" {
			return came
		}
	}
}

func (p *person) close() {
	must(p.socket.close(), "closing")
	p.closed()
}

type conversation struct {
	library       library
	device, token string
	person, peer  *person
}

func (c *conversation) header() string {
	p := arrive(c.library, wsURL, http.Header{"Authorization": {"Bearer " + c.token}})
	equal(p.authenticated, true, "authenticated by the header")
	p.close()
	return ""
}

func (c *conversation) query() string {
	p := arrive(c.library, wsURL+"?token="+c.token, nil)
	equal(p.authenticated, true, "authenticated by the query")
	p.close()
	return ""
}

func (c *conversation) subprotocol() string {
	p := arrive(c.library, wsURL, nil, "mychat.v1.json", "bearer."+c.token)
	equal(p.authenticated, true, "authenticated by the subprotocol")
	equal(p.socket.protocol(), "mychat.v1.json", "the chosen subprotocol")
	p.close()
	return ""
}

func (c *conversation) login() string {
	p := arrive(c.library, wsURL, nil)
	equal(p.authenticated, false, "authenticated without a token")
	equal(p.command(2001, object{"to_user": peer, "content": "early"}), 401, "a message before login")
	device := []string{"device_id", c.device, "platform", "desktop"}
	login := object{"username": user, "password": "wrong"}
	equal(p.command(1001, login, device...), 401, "login with a wrong password")
	login["password"] = "password"
	equal(p.command(1001, login, device...), 200, "login")
	equal(p.command(9999, object{}), 404, "an unknown command")
	must(p.socket.send("{ this is no JSON"), "sending")
	refused := p.wait("the error", func(m message) bool { return m.is(0) })
	equal([2]int{refused.Code, refused.Seq}, [2]int{400, 0}, "answer to text that is no JSON")
	equal(p.command(3001, object{}), 200, "heartbeat after the errors")
	p.close()
	return ""
}

func (c *conversation) messages() string {
	// Of the three ways, the query is open to every library.
	c.peer = arrive(c.library, wsURL+"?ack=1&token="+tokenOf(peer, c.library.name+"-2"), nil)
	c.person = arrive(c.library, wsURL+"?ack=1&token="+c.token, nil)
	c.send(c.person, c.peer, peer)
	c.send(c.peer, c.person, user)
	return fmt.Sprintf("%d each way, each with its reply and its push", messages)
}

func (c *conversation) send(sender, receiver *person, name string) {
	for first := 0; first < messages; first += batch {
		var replies []int
		for number := range batch {
			text := fmt.Sprintf("message %d", first+number)
			replies = append(replies, sender.post(2001, object{"to_user": name, "content": text}))
		}
		for _, seq := range replies {
			equal(sender.reply(seq).Code, 200, "code of a reply")
		}
		for number := range batch {
			equal(receiver.push(), fmt.Sprintf("message %d", first+number), "pushes in the order of sending")
		}
	}
}

func (c *conversation) fragmented() string {
	c.person.seq++
	content := strings.Repeat("in parts ", 500)
	text := encode(object{"cmd_id": 2001, "seq": c.person.seq, "data": object{"to_user": peer, "content": content}})
	must(c.person.socket.fragments([]string{text[:1], text[1:1000], text[1000:]}), "sending in fragments")
	equal(c.person.reply(c.person.seq).Code, 200, "reply to a fragmented message")
	equal(c.peer.push(), content, "the push of a fragmented message")
	return ""
}

func (c *conversation) large() string {
	c.person.seq++
	data := object{"to_user": peer, "content": "large", "padding": ""}
	command := object{"cmd_id": 2001, "seq": c.person.seq, "data": data}
	data["padding"] = strings.Repeat("x", mib-len(encode(command)))
	must(c.person.socket.send(encode(command)), "sending 1 MiB")
	equal(c.person.reply(c.person.seq).Code, 200, "reply to a message of 1 MiB")
	equal(c.peer.push(), "large", "the push of a message of 1 MiB")
	content := strings.Repeat("y", 1_000_000)
	post("/api/push", object{"user_id": user, "content": content}, "X-API-Key", os.Getenv("GATEWAY_SERVICE_KEY"))
	equal(c.person.push(), content, "the content of a large push")
	return "sent 1 MiB, received 1 MB"
}

func (c *conversation) ping() string {
	must(c.person.socket.ping("are you there"), "a ping")
	return ""
}

func (c *conversation) idle() string {
	select {
	case came := <-c.person.events:
		fail("came while nothing was sent: %v", came)
	case <-time.After(quiet):
	}
	equal(c.person.command(3001, object{}), 200, "heartbeat after a time without messages")
	return fmt.Sprintf("%v, answering pings", quiet)
}

func (c *conversation) resume() string {
	last := c.person.lastPushID
	c.person.close()
	token := tokenOf(peer, "elsewhere")
	for number := range 3 {
		data := object{"to_user": user, "content": fmt.Sprintf("missed %d", number)}
		post("/api/message", object{"cmd_id": 2001, "seq": 1, "data": data}, "Authorization", "Bearer "+token)
	}
	c.person = arrive(c.library, wsURL+"?ack=1&last_push_id="+last+"&token="+c.token, nil)
	for number := range 3 {
		equal(c.person.push(), fmt.Sprintf("missed %d", number), "pushes missed")
	}
	equal(c.person.command(3001, object{}), 200, "heartbeat after the resume")
	for _, m := range c.person.inbox {
		equal(m.is(5001), false, "a push that came twice")
	}
	return ""
}

func (c *conversation) close() string {
	kick := object{"user_id": user, "device_id": c.device, "reason": "seen by the client", "revoke": false}
	reply := post("/api/connections/kick", kick, "X-API-Key", os.Getenv("GATEWAY_ADMIN_KEY"))
	equal(reply["kicked"], any(1.0), "connections kicked")
	end := c.person.closed()
	equal(end.code, 4411, "the close code")
	if !strings.Contains(end.reason, "seen by the client") {
		fail("the close reason is %q", end.reason)
	}
	c.peer.close()
	return "4411 with its reason"
}

// hold runs the steps, passing over those that the library cannot do, and returns whether all went well.
func hold(library library) (well bool) {
	step := "begin"
	defer func() {
		if found, is := recover().(difference); is {
			fmt.Printf("FAILED %s: %s\n", step, found)
			well = false
		}
	}()
	c := &conversation{library: library, device: library.name + "-1"}
	c.token = tokenOf(user, c.device)
	steps := []struct {
		name string
		run  func() string
	}{
		{"header", c.header},
		{"query", c.query},
		{"subprotocol", c.subprotocol},
		{"login", c.login},
		{"messages", c.messages},
		{"fragmented", c.fragmented},
		{"large", c.large},
		{"ping", c.ping},
		{"idle", c.idle},
		{"resume", c.resume},
		{"close", c.close},
	}
	for _, one := range steps {
		step = one.name
		if reason, cannot := library.cannot[step]; cannot {
			fmt.Printf("skip %s %s\n", step, reason)
			continue
		}
		fmt.Println(strings.TrimSpace("ok " + step + " " + one.run()))
	}
	return true
}
