

﻿#!/usr/bin/lua
ngx.say("\"}", #t[t[1]])
