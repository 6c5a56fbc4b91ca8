// Go's WebSocket clients: the first argument names the library to hold the conversation with.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	xnet "golang.org/x/net/websocket"
)

// A push may be longer than what coder takes by default, 32 KiB.
const largest = 4 << 20

const wholeOnly = "the library sends whole messages only"

var libraries = []library{
	{name: "gorilla", open: openGorilla},
	{name: "coder", open: openCoder},
	{name: "gobwas", open: openGobwas},
	{name: "x-net", open: openXNet, cannot: map[string]string{
		"fragmented": wholeOnly,
		"ping":       "the library keeps pongs to itself",
		"close":      "the library keeps close codes to itself",
	}},
}

func main() {
	for _, library := range libraries {
		if len(os.Args) == 2 && library.name == os.Args[1] {
			if hold(library) {
				return
			}
			os.Exit(1)
		}
	}
	fmt.Println("FAILED: no such library")
	os.Exit(1)
}

// pongs receives the payload of each pong.
type pongs chan string

func (p pongs) wait(payload string) error {
	select {
	case came := <-p:
		if came != payload {
			return fmt.Errorf("a pong with %q", came)
		}
		return nil
	case <-time.After(deadline):
		return errors.New("no pong")
	}
}

type gorillaSocket struct {
	*gorilla.Conn
	pongs pongs
}

func openGorilla(url string, headers http.Header, protocols []string, events chan<- event) (socket, error) {
	dialer := gorilla.Dialer{Subprotocols: protocols, HandshakeTimeout: deadline, WriteBufferSize: 1000}
	conn, _, err := dialer.Dial(url, headers)
	if err != nil {
		return nil, err
	}
	s := gorillaSocket{conn, make(pongs, 8)}
	conn.SetPongHandler(func(payload string) error { s.pongs <- payload; return nil })
	go func() {
		for {
			_, data, err := conn.ReadMessage()
			if err == nil {
				events <- event{text: string(data)}
				continue
			}
			var end *gorilla.CloseError
			if errors.As(err, &end) {
				events <- event{code: end.Code, reason: end.Text}
			} else {
				events <- event{reason: err.Error()}
			}
			conn.Close()
			return
		}
	}()
	return s, nil
}

func (s gorillaSocket) protocol() string { return s.Subprotocol() }
func (s gorillaSocket) send(text string) error {
	return s.WriteMessage(gorilla.TextMessage, []byte(text))
}

// Its writer makes a fragment whenever its buffer is full.
func (s gorillaSocket) fragments(parts []string) error {
	writer, err := s.NextWriter(gorilla.TextMessage)
	for _, part := range parts {
		if err == nil {
			_, err = io.WriteString(writer, part)
		}
	}
	return errors.Join(err, writer.Close())
}

func (s gorillaSocket) ping(payload string) error {
	if err := s.WriteControl(gorilla.PingMessage, []byte(payload), time.Now().Add(deadline)); err != nil {
		return err
	}
	return s.pongs.wait(payload)
}

func (s gorillaSocket) close() error {
	data := gorilla.FormatCloseMessage(gorilla.CloseNormalClosure, "")
	return s.WriteControl(gorilla.CloseMessage, data, time.Now().Add(deadline))
}

type coderSocket struct{ *coder.Conn }

func openCoder(url string, headers http.Header, protocols []string, events chan<- event) (socket, error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	conn, _, err := coder.Dial(ctx, url, &coder.DialOptions{HTTPHeader: headers, Subprotocols: protocols})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(largest)
	go func() {
		for {
			_, data, err := conn.Read(context.Background())
			if err == nil {
				events <- event{text: string(data)}
				continue
			}
			var end coder.CloseError
			if errors.As(err, &end) {
				events <- event{code: int(end.Code), reason: end.Reason}
			} else {
				events <- event{reason: err.Error()}
			}
			return
		}
	}()
	return coderSocket{conn}, nil
}

func (s coderSocket) protocol() string { return s.Subprotocol() }
func (s coderSocket) close() error     { return s.Conn.Close(coder.StatusNormalClosure, "") }

func (s coderSocket) send(text string) error {
	return s.Write(context.Background(), coder.MessageText, []byte(text))
}

// Its writer makes a fragment of what each call gives it.
func (s coderSocket) fragments(parts []string) error {
	writer, err := s.Writer(context.Background(), coder.MessageText)
	for _, part := range parts {
		if err == nil {
			_, err = io.WriteString(writer, part)
		}
	}
	return errors.Join(err, writer.Close())
}

func (s coderSocket) ping(string) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	return s.Ping(ctx)
}

// gobwasSocket writes a frame at a time, because pongs come from the reading goroutine.
type gobwasSocket struct {
	conn   net.Conn
	chosen string
	pongs  pongs
	lock   *sync.Mutex
}

func openGobwas(url string, headers http.Header, protocols []string, events chan<- event) (socket, error) {
	dialer := ws.Dialer{Protocols: protocols, Header: ws.HandshakeHeaderHTTP(headers), Timeout: deadline}
	conn, buffered, shake, err := dialer.Dial(context.Background(), url)
	if err != nil {
		return nil, err
	}
	s := gobwasSocket{conn, shake.Protocol, make(pongs, 8), &sync.Mutex{}}
	var source io.Reader = conn
	if buffered != nil {
		source = io.MultiReader(io.LimitReader(buffered, int64(buffered.Buffered())), conn)
	}
	go s.read(bufio.NewReader(source), events)
	return s, nil
}

func (s gobwasSocket) Write(data []byte) (int, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.conn.Write(data)
}

func (s gobwasSocket) read(source io.Reader, events chan<- event) {
	answer := wsutil.ControlFrameHandler(s, ws.StateClientSide)
	control := func(header ws.Header, payload io.Reader) error {
		if header.OpCode != ws.OpPong {
			return answer(header, payload)
		}
		data, err := io.ReadAll(payload)
		s.pongs <- string(data)
		return err
	}
	reader := wsutil.Reader{Source: source, State: ws.StateClientSide, CheckUTF8: true, OnIntermediate: control}
	for {
		header, err := reader.NextFrame()
		var data []byte
		switch {
		case err != nil:
		case header.OpCode.IsControl():
			err = control(header, &reader)
		default:
			data, err = io.ReadAll(&reader)
		}
		if err == nil {
			if data != nil {
				events <- event{text: string(data)}
			}
			continue
		}
		var end wsutil.ClosedError
		if errors.As(err, &end) {
			events <- event{code: int(end.Code), reason: end.Reason}
		} else {
			events <- event{reason: err.Error()}
		}
		s.conn.Close()
		return
	}
}

func (s gobwasSocket) frame(frame ws.Frame) error {
	data, err := ws.CompileFrame(ws.MaskFrame(frame))
	if err == nil {
		_, err = s.Write(data)
	}
	return err
}

func (s gobwasSocket) protocol() string       { return s.chosen }
func (s gobwasSocket) send(text string) error { return s.frame(ws.NewTextFrame([]byte(text))) }

func (s gobwasSocket) fragments(parts []string) error {
	var err error
	for at, part := range parts {
		code := ws.OpContinuation
		if at == 0 {
			code = ws.OpText
		}
		err = errors.Join(err, s.frame(ws.NewFrame(code, at == len(parts)-1, []byte(part))))
	}
	return err
}

func (s gobwasSocket) ping(payload string) error {
	if err := s.frame(ws.NewPingFrame([]byte(payload))); err != nil {
		return err
	}
	return s.pongs.wait(payload)
}

func (s gobwasSocket) close() error {
	return s.frame(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))
}

type xnetSocket struct{ *xnet.Conn }

func openXNet(url string, headers http.Header, protocols []string, events chan<- event) (socket, error) {
	// It insists on an origin: here the gateway's own.
	config, err := xnet.NewConfig(url, strings.Replace(wsURL, "ws", "http", 1))
	if err != nil {
		return nil, err
	}
	config.Protocol = protocols
	if headers != nil {
		config.Header = headers
	}
	config.Dialer = &net.Dialer{Timeout: deadline}
	conn, err := xnet.DialConfig(config)
	if err != nil {
		return nil, err
	}
	conn.MaxPayloadBytes = largest
	go func() {
		for {
			var text string
			if err := xnet.Message.Receive(conn, &text); err != nil {
				events <- event{reason: err.Error()}
				return
			}
			events <- event{text: text}
		}
	}()
	return xnetSocket{conn}, nil
}

func (s xnetSocket) protocol() string {
	if chosen := s.Config().Protocol; len(chosen) == 1 {
		return chosen[0]
	}
	return ""
}

func (s xnetSocket) send(text string) error   { return xnet.Message.Send(s.Conn, text) }
func (s xnetSocket) fragments([]string) error { return errors.New(wholeOnly) }
func (s xnetSocket) ping(string) error        { return errors.New("no pongs") }
func (s xnetSocket) close() error             { return s.Conn.Close() }
