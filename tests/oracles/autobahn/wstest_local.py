# Python 2: wstest as it is, except that its server listens on 127.0.0.1 and a free port, which it prints.
from __future__ import print_function

from autobahntestsuite import wstest  # before anything of Twisted's: it chooses the reactor
from twisted.internet import reactor

listen_tcp = reactor.listenTCP


def listen_locally(_port, factory, backlog=50, _interface=''):
    listener = listen_tcp(0, factory, backlog, '127.0.0.1')
    factory.externalPort = listener.getHost().port  # what it compares a request's Host with
    print('listening on ws://127.0.0.1:%d' % factory.externalPort)
    return listener


reactor.listenTCP = listen_locally
wstest.run()
