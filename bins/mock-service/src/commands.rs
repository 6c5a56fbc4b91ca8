//! What each service can be asked, for `--help` and for readers.

/// The commands, as text. JSON goes by the number; protobuf goes by the type name and comes under any number
/// of its service.
pub const HELP: &str = "\
Accounts: alice, bob, carol, admin (role admin), and with --accounts N user1 ... userN; password: password.

Commands (JSON by number; protobuf by type name, under any number of the service):
  user     1001 login {username|account, password}   1003 register {account, password, nickname}
           1004 info {uid|account}   1005 update {nickname, avatar, gender, signature}
  message  2001 send {to_user, content}   2002, 2007 history {chat_id, limit, since, before}
  friend   3001, 3101 add {to_uid, message} (3001 is a heartbeat by the gateway's default routes)
           3002 remove {to_uid}   3003 list   3004 requests   3005 answer {request_id, accept}
           3006 search users {keyword, limit}
  group    4001 create {name, avatar, members}   4002 info {group_id}   4003 list   4007 join   4008 leave
           4009 members   4010 messages {group_id, limit, since, before}   4013 search {keyword}
           4014 send {group_id, content}
  push     (role admin; by the gateway's gRPC API) 5002 message, 5003 notification, 5004 system
           {user_ids, content, push_id, wait_ms} or {all: true, content}
           5101 kick {user_id, device_id, platform, reason}   5102 presence {user_ids}

Echo, per service, by anybody: 1998, 2998, 3998, 4998, 5998; the reply's data is the request's, byte by byte.

Faults while it runs, per service, by anybody (mock only): 1999, 2999, 3999, 4999, 5999
  {latency_ms, error_rate, hang_rate, error_code, serving}; what is left out stays; the reply shows all.";
