package Test::Nginx::Scaffold::Request;

# From a block's request sections to bytes on the wire. The result is a list of connections; a connection is a
# list of packets { value => bytes, delay_before => seconds }, each of which the client writes with one call.
#
#   --- request              "METHOD [URI [VERSION]]", the body on the lines below
#   --- request eval         an array: one connection an element; an element that is itself an array is one request
#                            in several packets (text, or { value => text, delay_before => seconds })
#   --- pipelined_requests   an array: all of them on one connection, in one packet
#   --- raw_request          bytes as they are, or an array of packets

use strict;
use warnings;

use Exporter qw(import);
use Test::Nginx::Scaffold::Text qw(expand section);
use Test::Nginx::Util ();

our @EXPORT_OK = qw(connections);

# Dies with what is wrong with the sections.
sub connections {
    my ($block) = @_;

    my $raw = section($block, 'raw_request');
    return [map { { value => $_ } } ref $raw ? @$raw : $raw] if defined $raw;

    my $pipelined = section($block, 'pipelined_requests');
    return [{ value => pipeline($block, $pipelined) }] if defined $pipelined;

    my $request = section($block, 'request') // eval_section($block, 'request_eval');
    die "there is no --- request section\n" if !defined $request;
    if (!ref $request) {
        $request =~ s/\A(?:\s*#[^\n]*\n|\s+)+//;
        return build($request, headers_of($block, 0), 'close');
    }
    die "--- request is neither text nor an array\n" if ref $request ne 'ARRAY';
    return map { build($request->[$_], headers_of($block, $_), 'close') } 0 .. $#$request;
}

# "--- request_eval" is the older spelling of "--- request eval".
sub eval_section {
    my ($block, $name) = @_;
    my $code = section($block, $name);
    return undef if !defined $code;
    my $value = eval "package main; $code";
    die "--- $name: $@" if $@;
    return $value;
}

sub pipeline {
    my ($block, $requests) = @_;
    die "--- pipelined_requests is not an array\n" if ref $requests ne 'ARRAY';
    my $bytes = '';
    for my $i (0 .. $#$requests) {
        my $connection = $i < $#$requests ? 'keep-alive' : 'close';
        my $packets = build(expand($requests->[$i]), headers_of($block, $i), $connection);
        $bytes .= $packets->[0]{value};
    }
    return $bytes;
}

# The "--- more_headers" of one request: the section's text for all of them, or an array with one for each.
sub headers_of {
    my ($block, $i) = @_;
    my $headers = section($block, 'more_headers') // '';
    return $headers if ref $headers ne 'ARRAY';
    return $headers->[$i] // die "--- more_headers has no element for request $i\n";
}

sub build {
    my ($request, $more_headers, $connection) = @_;
    my @packets = map { ref $_ ? {%$_} : { value => $_ } } ref $request ? @$request : $request;

    my $text = join '', map { $_->{value} } @packets;
    my ($line, $body) = $text =~ /\A([^\n]*\n?)(.*)\z/s;
    my ($method, $uri, $version) = $line =~ /(\S+)/g;
    die "the request line is empty\n" if !defined $method;
    $uri //= '/';
    $version //= 'HTTP/1.1';

    my ($headers, $chunked) = header_lines($more_headers);
    my $head = "$method $uri $version\r\n";
    $head .= "Host: $Test::Nginx::Util::ServerName\r\n" if $headers !~ /^Host:/mi;
    $head .= "Connection: $connection\r\n" if $headers !~ /^Connection/mi;
    $head .= $headers;

    # White space around a body comes from the section's layout, unless the headers say how the body is delimited.
    my $trimmed = 0;
    if ($body ne '' && !$chunked && $headers !~ /^Content-Length:/m) {
        $trimmed = length $1 if $body =~ s/\A(\s+)//;
        $body =~ s/\s+\z//;
        $head .= 'Content-Length: ' . length($body) . "\r\n";
    }
    $head .= "\r\n";

    return cut(\@packets, $line, $head, $trimmed, $body);
}

# The packets' boundaries, carried over from the text as written to the bytes as sent: one inside the request line stays
# as far into the head, one in the body at the same byte of the body.
sub cut {
    my ($packets, $line, $head, $trimmed, $body) = @_;
    my $indent = $line =~ /\A(\s+)/ ? length $1 : 0;
    my ($written, $sent, @out) = (0, 0);
    for my $i (0 .. $#$packets) {
        my $packet = $packets->[$i];
        $written += length $packet->{value};
        my $end;
        if ($i == $#$packets) {
            $end = length($head) + length $body;
        }
        elsif ($written < length $line) {
            $end = $written > $indent ? $written - $indent : 0;
        }
        else {
            my $into_body = $written - length($line) - $trimmed;
            $into_body = 0 if $into_body < 0;
            $into_body = length $body if $into_body > length $body;
            $end = length($head) + $into_body;
        }
        push @out, { %$packet, value => substr($head . $body, $sent, $end - $sent) };
        $sent = $end;
    }
    return \@out;
}

# The section's lines in wire form, and whether they announce a chunked body.
sub header_lines {
    my ($text) = @_;
    my ($lines, $chunked) = ('', 0);
    for my $line (split /\n+/, $text) {
        next if $line =~ /\A\s*#/;
        my ($name, $value) = split /:\s*/, $line, 2;
        next if !defined $name;
        $value //= '';
        $value =~ s/\r\z//;
        $chunked = 1 if lc $name eq 'transfer-encoding' && $value eq 'chunked';
        $lines .= "$name: $value\r\n";
    }
    return ($lines, $chunked);
}

1;
