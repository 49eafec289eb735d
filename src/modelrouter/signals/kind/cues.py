"""Words and phrases that tell what kind of task a request is: the table behind the rest.

Each row: role, kind, strength, and the cues separated by commas. A ``*`` inside a cue stands for
up to six words. The roles say how the wording around a cue changes its strength:

    verb    an instruction's verb in its plain form; counts fully at the start of a clause
    noun    what is to be made or treated; counts fully after an instruction's verb
    image   a noun for a picture: "a ..." asks for one, "this ..." speaks of one
    tech    a noun of programming that is little used elsewhere
    plain   a noun of programming that is an everyday word too ("class", "function")
    phrase  says the kind in a question or a statement as well
    social  small talk; counts when there is little else in the clause
    loose   a faint hint
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from modelrouter.task import Kind

__all__ = [
    "BY_FIRST_WORD",
    "CODE_TARGETS",
    "COMMANDS",
    "LANGUAGES",
    "LANGUAGE_LINKS",
    "LOOK_AT",
    "MISSPELT",
    "NEGATIONS",
    "NOT_DRAWN",
    "NOT_DRAWN_NEXT",
    "OBJECTS",
    "QUESTION_WORDS",
    "SUBJECTS",
    "TONES",
    "Cue",
    "Entry",
    "Role",
    "find_cue",
    "words",
]

Role: TypeAlias = Literal["verb", "noun", "image", "tech", "plain", "phrase", "social", "loose"]


class Cue(NamedTuple):
    """One cue, filed under its first word: what must follow, and what it says."""

    rest: tuple[str, ...]
    later: tuple[str, ...]
    kind: Kind
    strength: float
    role: Role


_TABLE: Final[tuple[tuple[Role, Kind, float, str], ...]] = (
    # completion
    ("verb", "completion", 1.6, """
        complete, finish, continue, completa, completar, termina, acaba, continúa, continua,
        complète, complètes, complétez, termine, terminez, finis, poursuis, vervollständige,
        ergänze, beende, setze * fort, completare, aanvullen"""),
    ("verb", "completion", 3.0, "autocomplete, auto complete"),
    ("phrase", "completion", 3.0, """
        complete * sentence, finish * sentence, continue * sentence, end * sentence, sentence end,
        sentence ends, complete * phrase, finish * phrase, continue * text, complete * line,
        finish * line, complete * proverb, finish * proverb, complete * saying, finish * saying,
        finish * quote, complete * quote, complete * lyric, complete * thought, finish * thought,
        complete * paragraph, continue * paragraph, extend * sentence, fill in the rest, fill in
        the end, fill in the blank, fill in the blanks, fill the blank, fill in * end, fill in *
        missing word, next few words, next words, next word, predict the rest, predict the next,
        predict the end, text completion, sentence completion, write the ending, write the end,
        how * end this, how would you end, continue writing, continue from here, keep writing,
        keep going from, pick up where, completa la frase, completa la oración, termina la frase,
        acaba la frase, complète la phrase, complétez la phrase, termine la phrase, finis la
        phrase, vervollständige den satz, vervollständige * satz, beende den satz, ergänze den
        satz, führe * satz, setze * satz, what comes after, maak * zin af"""),

    # grammar
    ("verb", "grammar", 3.0, """
        proofread, proof read, spellcheck, spell check, copyedit, copy edit, grammar check,
        grammatikprüfung"""),
    ("verb", "grammar", 2.2, """
        correct, corrige, corrígeme, corregir, corrija, corriger, corrigez, korrigiere,
        korrigieren, korrigier, verbessere, berichtige, correggi, corrigeer, verbeter"""),
    ("verb", "grammar", 1.5, "fix, edit, arregla"),
    ("noun", "grammar", 3.0, """
        grammar, grammer, grammatical, grammatically, ungrammatical, spelling, misspelling,
        misspellings, spellings, typo, typos, punctuation, punctuate, proofreading, gramática,
        ortografía, ortografia, grammaire, orthographe, grammatik, rechtschreibung,
        zeichensetzung, tippfehler, grammatica, spelfouten, capitalization, capitalisation, verb
        tense, verb tenses, subject verb agreement, faltas, faute, fautes"""),
    ("phrase", "grammar", 3.0, """
        is * grammatically correct, grammatically correct, grammatically right, grammatically
        wrong, grammar mistakes, grammar errors, grammar check, spelling mistakes, correct *
        mistakes, correct * errors, fix * mistakes, correct my english, fix my english, correct my
        writing, correct this sentence, correct * sentence, correct * sentences, fix this
        sentence, fix * sentence, fix * wording, remove * mistakes, rewrite * correctly, rewrite
        correctly, write * correctly, make * grammatical, make * grammatically, make * correct
        english, find the mistake in, find the mistakes in, errors in * sentence, errors in my,
        mistakes in my, in proper english, into proper english, in correct english, in standard
        english, is this sentence correct, is this sentence right, is my sentence correct, is this
        correct english, is this proper english, corrige les fautes, corrige * fautes, corrige los
        errores, korrigiere * fehler, corrigir * erros"""),
    ("noun", "grammar", 1.2, "fehler, errores, erreurs"),

    # summarization
    ("verb", "summarization", 3.2, """
        summarize, summarise, summarizing, summarising, sum up, summing up, sum * up, recap,
        condense, condensing, abridge, boil * down, tl dr, tldr, resume, resumir, resúmeme,
        resúmelo, resuma, resumen, résume, résumer, résumez, résumé, fasse, fass, zusammenfassen,
        zusammenfassung, riassumi, riassumere, riassunto, resumo, samenvatten, samenvatting, vat *
        samen, paraphrase briefly"""),
    ("phrase", "summarization", 1.5, """
        what happens, briefly, in short, in brief, in one line, in one sentence, in two sentences,
        in three sentences, in a few sentences"""),
    ("verb", "summarization", 2.0, """
        outline, shorten, shortening, acorta, abrège, raccourcis, kürze, distill, distil,
        compress"""),
    ("phrase", "summarization", 3.0, """
        simplify * text, simplify * sentence, simplify * paragraph, simplify * passage, simplify *
        article, simplify * document, simplify * letter"""),
    ("noun", "summarization", 3.0, """
        summary, summaries, paragraph summary, sentence summary, synopsis, gist, overview, tldr,
        abstract, key points, main points,
        main ideas, main idea, key takeaways, takeaways, key ideas, key findings, bullet points,
        highlights, résumé, hauptpunkte, kernaussagen, wichtigsten punkte, puntos principales,
        ideas principales, points clés, idée principale, recap, précis"""),
    ("phrase", "summarization", 3.0, """
        tl dr, tldr, in a nutshell, give me the gist, get the gist, too long to read, don't have
        time to read, shorten * to, main points of, key points of, main point of, main idea of,
        the short version, what is this * about, what's this * about, en resumen, fasse *
        zusammen, make * shorter, make * more concise"""),

    # translation
    ("verb", "translation", 3.2, """
        translate, translating, traduce, traducir, traduzca, tradúceme, traducid, tradúcelo,
        traduis, traduire, traduisez, übersetze, übersetzen, übersetz, übersetzt, traduci,
        tradurre, traduza, traduzir, traduz, vertaal, vertalen, localize, localise, перекладіть,
        переведи, переведите"""),
    ("noun", "translation", 2.4, """
        translation, translations, traducción, traduction, übersetzung, traduzione, tradução,
        vertaling"""),
    ("phrase", "translation", 3.2, """
        how do you say, how do i say, how would you say, how would i say, how to say, how can i
        say, what's the * word for, what is the * word for, in english mean, mean in english, mean
        in spanish, mean in french, mean in german, mean in italian, cómo se dice, como se dice,
        comment dit on, comment dire, wie sagt man, wie heißt * auf, was heißt * auf, qué
        significa * en, que veut dire * en, como se diz, come si dice, hoe zeg je"""),

    # classification
    ("verb", "classification", 3.0, """
        classify, categorize, categorise, classifying, label, tag, clasifica, clasificar,
        categoriza, etiqueta, classe, classer, classez, classifie, catégorise, étiquette,
        klassifiziere, klassifizieren, kategorisiere, ordne * zu, classifica, categorizza,
        classificeer, annotate"""),
    ("noun", "classification", 2.6, """
        sentiment, sentiments, classification, sentiment analysis, intent classification, intent
        detection, topic classification, toxicity, star rating, sentimiento, stimmung"""),
    ("phrase", "classification", 3.0, """
        sentiment of, sentiment analysis, positive or negative, negative or positive, positive
        negative or neutral, positive negative neutral, positive neutral or negative, positivo o
        negativo, positif ou négatif, positiv oder negativ, spam or, or spam, spam or not, ham or
        spam, fact or opinion, true or false, formal or informal, which category, what category,
        which class does, which label, which of these labels, which of these categories, which of
        the labels, following categories, following labels, these categories, one of these topics,
        one of the following, into categories, possible labels, possible intents, yes or no
        whether, as spam, is this spam, hate speech, is this email urgent, is this message urgent,
        identify the language, detect the language, what language is this, which language is this,
        what language is the, which language is the, language of this text, rate the toxicity,
        rate the sentiment, detect the emotion, what emotion, which emotion, identify the emotion,
        identify the tone, tone of this, the tone of, sort * into, group * by, group * into,
        divide * into, separate * into, assign * to, assign * category, assign * label, assign one
        of, dringend oder"""),

    # extraction
    ("verb", "extraction", 3.0, """
        extract, extracting, pull out, pull * out, scrape, extrae, extraer, extraiga, extrais,
        extraire, extrayez, extrahiere, extrahieren, estrai, estrarre, extraia, extrair, haal *
        uit"""),
    ("verb", "extraction", 2.2, "parse"),
    ("noun", "extraction", 2.2, """
        named entities, entities, key value pairs, keywords, key phrases, action items, data
        points, structured data, placeholder names"""),
    ("phrase", "extraction", 2.8, """
        mentioned in, mentioned below, mentioned above, appear in this, appear in the, appears in
        this, appears in the, occur in this, occur in the, occurs here, appear here, occur here,
        people named in, persons named in, names in the, listed in the, found in the text,
        contained in the text, named entities, named entity, key value pairs, into a table, into
        json, into a json, into structured, as json, with columns, json object with, fill this
        schema, fill in this schema, matches this schema, according to this schema, every person,
        every company, every name, every date, every place, every city, every country,
        every number, every price, every email, list * mentioned, find * mentioned,
        give * mentioned, name * mentioned,
        all names, all dates, all numbers, all the numbers, all the names, all the dates, all
        email, all emails, all urls, all the urls, every url, all links, all the prices, all
        prices, all verbs, all nouns, all adjectives, all company, all companies, all people, all
        the people, all places, all locations, all phone, highlight all, underline all, the dates
        mentioned, take * out of, out of this text, from the text below, from the following text,
        from this text, from the text, from this message, from this email, from this paragraph,
        out of the following, total amount only, todos los nombres, toutes les adresses, todas las
        fechas, alle namen"""),

    # question answering
    ("verb", "question_answering", 1.6, """
        explain, define, describe, explica, explícame, explique, définis, erkläre, erklär,
        definiere, spiega, uitleg, elaborate, clarify, answer, responde, réponds, beantworte"""),
    ("noun", "question_answering", 1.8, "question, q, frage, pregunta, domanda"),
    ("phrase", "question_answering", 2.2, """
        tell me about, teach me about, háblame de, parle moi de, erzähl mir von, what is the
        difference, what's the difference, difference between, what does the word, what does the
        term, meaning of"""),
    ("phrase", "question_answering", 3.4, """
        according to the, according to this, based on the text, based on the passage, based on
        this, based on these, based on the context, based on the article, based on the notes,
        based on the following, use the context, using the context, use the passage, given the
        context, from the context, which of the following, answer the question, answer the
        following question, answer this question, answer my question, answer from, según el texto,
        d'après le texte, selon le texte, laut text, laut dem text"""),

    # chat
    ("social", "chat", 2.6, """
        hi, hii, hello, hey, hiya, howdy, yo, greetings, hola, buenas, buenos días, bonjour,
        salut, bonsoir, coucou, hallo, guten tag, guten morgen, moin, servus, ciao, olá, oi, hoi,
        good morning, good evening, good afternoon, good night, goodnight, thanks, thank you, thx,
        ty, cheers, gracias, merci, danke, grazie, obrigado, bedankt, bye, goodbye, see you, see
        ya, adiós, au revoir, tschüss, lol, haha, hahaha, lmao, ok, okay, k, yes, yeah, yep, yup,
        sure, no, nope, cool, nice, great, awesome, wow, perfect, amazing, oh, hmm,
        congratulations, congrats, happy birthday, happy new year, merry christmas, nice to meet,
        pleased to meet, welcome back, sounds good, got it, never mind, sorry, you're, you are,
        what's up, whats up, sup, wassup, how are you, how're you, how are things, how is it
        going, how's it going, how have you been, how was your, qué tal, cómo estás, ça va,
        comment vas tu, comment allez vous, wie geht, come stai, tudo bem"""),
    ("phrase", "chat", 3.0, """
        tell me about yourself, how are you, how're you, how is it going, how's it going, how have
        you been, how was your, how do you feel, what's up, whats up, qué tal, cómo estás, ça va,
        comment vas tu, comment allez vous, wie geht es dir, wie geht's, come stai, tudo bem, what
        do you think, what's your favourite, what's your favorite, what is your favourite, what is
        your favorite, your favorite, your favourite, your opinion, about yourself, are you, who
        are you, what are you, do you like, do you love, do you ever, do you have any, do you
        believe, do you enjoy, do you remember, do you think, do you dream, do you feel, have you
        ever, can we talk, can we chat, let's chat, let's talk, let's just chat, just chat, just
        want to chat, just want to talk, someone to talk to, nice to meet you, what's your name,
        what is your name, how old are you, i'm bored, im bored, qué opinas, que penses tu, was
        denkst du, was hältst du, ti piace, te gusta, tu aimes, magst du, i love you, i hate you,
        you're funny, tell me something, talk to me, guess what, what should we talk"""),

    # code
    ("verb", "code", 3.0, """
        refactor, debug, debugging, implement, implementing, implementa, implémente,
        implementiere, implementieren, refactoriza, refaktorisiere, programmiere, programma,
        dockerize, containerize, deploy, transpile, lint, compile, recode"""),
    ("verb", "code", 1.2, "code, program, script, port"),
    ("tech", "code", 2.6, """
        python, pyton, javascript, typescript, java, kotlin, golang, rust, ruby, php, perl, scala,
        haskell, cpp, csharp, sql, mysql, postgres, postgresql, sqlite, mongodb, redis, html, css,
        scss, jsx, tsx, json schema, yaml, toml, regex, regexp, regexes, regular expression,
        regular expressions, bash, shell script, shell, powershell, zsh, awk, grep, cron, cronjob,
        cron job, crontab, docker, dockerfile, kubernetes, kubectl, helm chart, terraform,
        ansible, nginx, git, github, gitlab, npm, pip, pandas, numpy, pytorch, tensorflow,
        matplotlib, sklearn, scikit learn, django, flask, fastapi, react, reactjs, vue, angular,
        svelte, nextjs, nodejs, node js, express js, in express, jquery, tailwind, bootstrap,
        dataframe, dataframes, api, apis, rest api, graphql, endpoint, endpoints, backend,
        frontend, webhook, websocket, websockets, unit test, unit tests, pytest, junit, unittest,
        docstring, docstrings, type hint, type hints, algorithm, algorithms, recursion, recursive,
        binary search, linked list, hash map, hashmap, hashtable, hash table, stack trace,
        stacktrace, traceback, exception, segfault, segmentation fault, null pointer,
        nullpointerexception, compiler, codebase, source code, code snippet, snippet, pseudocode,
        boilerplate, async, await, multithreading, multithreaded, thread safe, mutex, decorator,
        iterator, lambda, enum, typeerror, valueerror, keyerror, indexerror, syntaxerror,
        importerror, attributeerror, undefined, makefile, cmake, gradle, maven, webpack, vite, cli
        tool, command line, localhost, sql query, leetcode, fizzbuzz, big o, time complexity,
        parser, macro, vba, arduino, raspberry pi, stored procedure, database schema, migration
        script, web scraper, scraper, discord bot, telegram bot, chrome extension, android app,
        ios app, swiftui, xcode, stdin, stdout, ssh, systemd, vim, emacs, vscode, jenkins, ci
        pipeline, github action, github actions, lru cache, oop, object oriented, merge conflict,
        pull request, diff, verilog, fortran, cobol, assembly, matlab, latex document"""),
    ("plain", "code", 2.4, """
        function, functions, method, methods, class, classes, script, scripts, program, programme,
        programs, query, queries, code, coding, component, components, variable, variables, loop,
        loops, arrays, module, modules, bug, bugs, app, website, webpage, web page, web app, web
        server, función, funciones, programa, consulta, clase, código, fonction, fonctions,
        requête, classe, funktion, funktionen, programm, skript, klasse, abfrage, funzione,
        função, functie"""),
    ("loose", "code", 1.0, """
        list, lists, array, string, strings, dictionary, dictionaries, interface, error, errors,
        server, database, table, import, command, library, package, json, xml, csv, file, files,
        folder, directory, test, tests, game, stack, queue, boolean, output"""),
    ("phrase", "code", 2.6, """
        what does this code, what does this function, explain this code, this code do, what this
        code, this code does, fix this bug, fix the bug, fix this code, fix my code, why does my
        code, why is my code, my code, this code, this function returns, complete this function,
        complete the function, complete the code, complete this code, finish this function, unit
        tests for, tests for the following function, code review this, review this code, review my
        code, review this pull request, time complexity of, get this error, this error mean, undo
        the last commit, center a div, snake game, todo app, guessing game, sudoku solver, write
        tests, tests for"""),

    # math
    ("verb", "math", 2.0, """
        solve, evaluate, resuelve, resolver, résous, résoudre, résolvez, löse, risolvi, resolva,
        simplify, simplifica, simplifie, vereinfache"""),
    ("verb", "math", 2.6, """
        compute, calculate, calculating, prove, factor, factorize, factorise, differentiate,
        integrate, derive, calcula, calcular, demuestra, deriva, factoriza, calcule, calculer,
        calculez, démontre, prouve, berechne, berechnen, beweise, calcola, dimostra, bereken,
        bewijs"""),
    ("noun", "math", 2.6, """
        equation, equations, derivative, derivatives, integral, integrals, polynomial,
        polynomials, eigenvalue, eigenvalues, eigenvectors, determinant, matrix, matrices, square
        root, sqare root, cube root, logarithm, quadratic, quadratic formula, trigonometric,
        cosine, sine, hypotenuse, gcd, lcm, factorial, prime number, prime numbers, primes,
        primzahlen, irrational, fraction, fractions, decimal, probability, permutations,
        combinations, theorem, lemma, inequality, area of a circle, area of a triangle, area of
        the, perimeter, circumference, volume of a, standard deviation, arithmetic, algebra,
        calculus, geometry, math, maths, math problem, word problem, percent, percentage, modulo,
        ecuación, ecuaciones, derivada, raíz cuadrada, équation, dérivée, intégrale, racine
        carrée, gleichung, gleichungen, ableitung, flächeninhalt, quadratwurzel, equazione,
        equação, vergelijking"""),
    ("noun", "math", 1.8, """
        integer, integers, triangle, polygon, rectangle, ratio, digits, arithmetic sequence,
        geometric sequence, average"""),
    ("phrase", "math", 3.0, """
        square root of, cube root of, derivative of, integral of, limit of, solve for, prove that,
        prove by, show that the, show that for, show that if, how many ways, in how many, number
        of ways, probability of, probability that, what is the probability, common divisor, common
        multiple, common factor, round * nearest, sum of all, sum of two, product of two, sum of
        the, to a decimal, as a decimal, as a fraction, quadratic formula, percent of, per cent
        of, plus or minus, divided by, multiplied by, dividido por, dividido entre, divisé par,
        multiplié par, geteilt durch, raíz cuadrada de, racine carrée de, completing the square,
        how much profit, how much change, eigenvalues of, factor the, roots of, solve the system,
        solve the equation, solve this equation, the remainder when, boxed, how many more, how
        many fewer, how many total"""),

    # reasoning
    ("verb", "reasoning", 2.0, """
        plan, devise, weigh, analyze, analyse, deduce, infer, compare, strategize, prioritize,
        prioritise, planifica, planea, analiza, compara, razona, planifie, planifiez, comparez,
        plane, analysiere, vergleiche, wäge, pianifica, analizza, confronta, planeja, analisa,
        assess, evaluate, recommend, diagnose, critique, think through, work out, figure out,
        justify, argue, estimate"""),
    ("noun", "reasoning", 2.6, """
        puzzle, riddle, riddles, brain teaser, brainteaser, itinerary, strategy, project plan,
        plan, study plan, study schedule, schedule, timetable, roadmap, seating plan, trade offs,
        tradeoffs, trade off, tradeoff, pros and cons, root cause, syllogism, fallacy, acertijo,
        adivinanza, devinette, énigme, rätsel, logic puzzle, decision matrix, contingency plan,
        swot analysis, swot"""),
    ("phrase", "reasoning", 2.8, """
        pros and cons, advantages and disadvantages, trade offs, tradeoffs, step by step, explain
        your reasoning, explain your logic, show your reasoning, justify your answer, who owns, if
        all, if some, knights always, always tell the truth, always tells the truth, always lie,
        always lies, knaves, is the following argument, argument valid, logically valid, what
        conclusion, what can be concluded, what can you conclude, draw * conclusion, draw
        conclusions, conclusion can be drawn, flaw in, logical fallacy, root cause, most likely
        cause, what comes next in, help me decide, help me choose, should we, should i, weigh
        cost, weigh the, which option, who is the tallest, who is the oldest, second tallest, sits
        next to, must not sit, lives next to, wants to sit, exactly one, each own, each have a
        different, each owns a different, has a different, one for each, with the following
        constraints, subject to these constraints, with a budget of, on a budget of, cross a
        river, cross the river, heavier ball, heavier coin, with two weighings, how can you
        measure, what am i, analyze why, analyse why, what would happen, what might happen, why
        might, who did it, houses in a row, each person, clues, there are five houses, consider
        the, ventajas y desventajas, pros y contras, avantages et les inconvénients, avantages et
        inconvénients, vor und nachteile, nachteile, con un presupuesto, paso a paso, étape par
        étape, schritt für schritt, who is lying"""),
    ("phrase", "reasoning", 1.4, "taller than, older than, shorter than, younger than"),
    ("phrase", "reasoning", 2.4, """
        training program, workout program, workout plan, meal plan, lesson plan, business plan,
        exercise program, day trip, week trip, travel plan"""),

    # creative writing
    ("verb", "creative_writing", 2.4, """
        compose, brainstorm, imagine, invent, pen, narrate, rhyme, roleplay, role play, imagina,
        inventa, inventez, erfinde, dichte, reim, rap"""),
    ("verb", "creative_writing", 1.2, """
        write, draft, rewrite, rephrase, reword, paraphrase, escribe, redacta, écris, rédige,
        schreibe, schreib, verfasse, formuliere, scrivi, escreva, schrijf"""),
    ("noun", "creative_writing", 2.7, """
        story, stories, short story, tale, fairy tale, fable, myth, legend, poem, poems, poetry,
        haiku, haikus, sonnet, limerick, ode, ballad, verse, stanza, song, lyrics, lullaby, rap,
        jingle, novel, novella, chapter, scene, screenplay, movie script, film script, video
        script, podcast script, monologue, dialogue, dialog, speech, toast, eulogy, essay, blog,
        blog post, blogpost, article, op ed, column, newsletter, press release, tweet, tweets,
        caption, captions, slogan, slogans, tagline, taglines, motto, headline, headlines, bio,
        biography, cover letter, letter, love letter, email, e mail, mail, message, reply, thank
        you note, invitation, product description, description, advert, advertisement, ad copy,
        sales pitch, elevator pitch, linkedin post, instagram post, facebook post, post, joke,
        jokes, pun, puns, names for, name ideas, ideas, plot, plot twist, opening paragraph,
        opening line, paragraph, backstory, review, recipe, postcard, obituary, anecdote, bedtime
        story, poema, poemas, historia, cuento, relato, canción, carta, ensayo, discurso, chiste,
        poème, histoire, conte, nouvelle, chanson, lettre, discours, blague, gedicht, geschichte,
        märchen, lied, brief, rede, witz, aufsatz, poesia, storia, racconto, canzone, lettera,
        verhaal, gedichten, testimonial, outro, intro, villanelle, parody, satire, fan fiction,
        fanfiction, diary entry, journal entry"""),
    ("phrase", "creative_writing", 2.4, """
        more professional, more formal, more polite, more persuasive, more friendly, friendlier,
        more casual, sound better, sound more"""),
    ("phrase", "creative_writing", 2.8, """
        in the style of, tell me a story, tell us a story, tell me a joke, tell a joke, tell me
        another joke, cuéntame un chiste, cuéntame un cuento, cuéntame una historia, raconte moi
        une histoire, raconte une blague, erzähl mir eine geschichte, erzähle eine geschichte,
        erzähl einen witz, once upon a time, come up with, make up a, imagine you are, imagine
        you're, imagine that you, pretend you are, pretend to be, in words, short story, give me
        some ideas, give me ideas, ideas for"""),

    # image generation
    ("verb", "image_generation", 3.2, """
        draw, sketch, paint, illustrate, dibuja, dibújame, pinta, dessine, dessinez, dessine moi,
        peins, zeichne, zeichnen, male, mal mir, disegna, desenhe, desenha, teken"""),
    ("image", "image_generation", 2.7, """
        image, images, picture, pictures, pic, pics, photo, photos, photograph, photography,
        illustration, illustrations, drawing, drawings, painting, paintings, watercolor,
        watercolour, sketch, cartoon, caricature, logo, logos, icon, icons, wallpaper, poster,
        flyer, banner, avatar, portrait, clipart, clip art, infographic, artwork, mural, tattoo
        design, floor plan, book cover, album cover, movie poster, emoji, pixel art, concept art,
        oil painting, digital art, line art, 3d render, imagen, imágenes, dibujo, foto,
        fotografía, ilustración, cartel, imagine di, dessin, affiche, peinture, bild, bilder,
        zeichnung, gemälde, plakat, immagine, disegno, imagem, desenho, afbeelding, tekening"""),
    ("image", "image_generation", 1.2, "screenshot, diagram, chart, graph, map, meme"),

    # chat
    ("phrase", "chat", 2.6, "picture this, picture it, picture yourself"),

    # image generation
    ("phrase", "image_generation", 3.2, """
        into an image, into a picture, into a drawing, art nouveau style, anime style, cyberpunk
        style, pixel art style, flat design, studio lighting, photorealistic, midjourney, dall e,
        dalle, stable diffusion, image prompt, octane render"""),

    # image understanding
    ("phrase", "image_understanding", 3.0, """
        in this image, in this picture, in this photo, in the image, in the picture, in the photo,
        in the screenshot, in this screenshot, on this picture, attached image, attached picture,
        attached photo, attached screenshot, image above, picture above, image below, picture
        below, describe this image, describe the image, describe this picture, describe the
        picture, describe this photo, describe the photo, en esta imagen, en la imagen, en la
        foto, en esta foto, dans cette image, sur cette photo, cette photo, cette image, sur la
        photo, auf diesem bild, auf dem bild, auf diesem foto, alt text, ocr, transcribe the
        handwriting, this meme, this diagram, this chart, this receipt, this screenshot, this
        painting, this photo, this picture, this image, the whiteboard, see in this"""),

    # embedding
    ("verb", "embedding", 3.4, "embed, vectorize, vectorise, incrusta, vektorisiere"),
    ("noun", "embedding", 3.4, """
        embedding, embeddings, sentence embedding, text embedding, embedding vector, vector
        embedding, vector embeddings, vector representation, dense vector, feature vector,
        semantic vector, incrustación, plongement, einbettung"""),
    ("phrase", "embedding", 3.4, """
        as a vector, into a vector, into vectors, as an embedding, into an embedding, into
        embeddings, to embeddings, to an embedding, to a vector, to vectors, represent this
        sentence, represent this document, represent this query, represent this text, represent
        the following, represent the document, represent the sentence, represent the query, for
        semantic search, for retrieval"""),
)  # fmt: skip


def words(text: str) -> frozenset[str]:
    """The set of a text's words."""
    return frozenset(text.split())


COMMANDS: Final = words(
    "write create make generate give get show produce build design provide return find list help"
    " add convert change turn rewrite rephrase describe read take use run set output print tell"
    " send put mark sort group identify detect determine decide check rate name pick choose"
    " suggest select propose recommend prepare develop craft design need want look update improve"
    " optimize optimise review test polish clean remove delete replace render encode transform"
    " represent predict fill copy highlight collect extract grab follow gimme lemme do try keep"
    " turn split merge format parse organize organise spell transcribe caption count measure"
    " escribe crea genera haz dame hazme diseña muestra busca encuentra lista convierte cambia"
    " quiero necesito redacta prepara écris écrivez crée créez génère fais faites donne donnez"
    " montre trouve liste convertis change rédige prépare veux voudrais schreibe schreib erstelle"
    " erzeuge mach mache gib zeige zeig finde nenne entwirf generiere verfasse baue brauche"
    " möchte wandle scrivi crea genera fai dammi escreva crie gere faça schrijf maak genereer geef"
)
"""Verbs that ask for something without saying of what kind; the noun after them says it."""

QUESTION_WORDS: Final = words(
    "what what's whats who who's whos whom whose when when's where where's wheres which why why's"
    " how how's hows is are was were do does did has have had am can could should would will may"
    " isn't aren't doesn't don't didn't"
    " qué cuál cuáles quién quiénes cuándo dónde cómo cuánto cuántos cuánta cuántas es son está"
    " que quel quelle quels quelles qui quand où pourquoi comment combien est"
    " was wer wann wo warum wieso wie welche welcher welches wieviel ist sind hat kann"
    " cosa chi quando dove perché come quanto qual quem onde porque como wat wie waar wanneer"
    " hoeveel waarom hoe"
)

SUBJECTS: Final = words(
    "here attached below above i i'm i've i'd im my we we're our he he's she she's it it's they"
    " they're you your his her their there there's the this that these those nobody everybody"
    " someone today yesterday yo mi mis nosotros él ella je j mon ma nous il elle ich mein meine"
    " wir er sie es"
)
"""First words of a clause that states something."""

LOOK_AT: Final = words(
    "describe caption analyze analyse identify look read explain transcribe what what's whats who"
    " who's is are how where which does do see tell can summarize summarise extract classify"
    " translate compare rate count detect qué que was wie"
)
"""First words of a clause that speaks of a picture that exists."""

NEGATIONS: Final = words(
    "don't dont not never no without doesn't didn't nicht kein keine ohne pas sans sin cannot can't"
)

NOT_DRAWN: Final = words(
    "conclusion conclusions inference inferences comparison comparisons distinction distinctions"
    " parallel parallels lesson lessons attention inspiration words"
    " conclusión conclusiones fazit schluss"
)
"""What "draw" may take without a picture being meant."""

NOT_DRAWN_NEXT: Final = words("up on upon from near closer blank blood strength breath")
"""Likewise, right after the verb."""

OBJECTS: Final = words(
    "text sentence sentences paragraph passage article essay email letter note notes review"
    " document story message post report abstract comment tweet headline statement headline reply"
)
"""Nouns for a text that is given."""

TONES: Final = words(
    "positive negative neutral spam ham sarcastic ironic urgent hostile friendly formal informal"
    " toxic angry happy sad polite rude offensive aggressive subjective objective biased fake"
    " clickbait hateful hate threatening sincere optimistic pessimistic"
)
"""What a text may be judged to be."""

LANGUAGES: Final = words(
    "english french spanish german italian portuguese dutch russian chinese mandarin cantonese"
    " japanese korean arabic hindi polish swedish norwegian danish finnish greek turkish hebrew"
    " ukrainian czech hungarian romanian thai vietnamese indonesian latin bengali urdu persian"
    " farsi swahili tamil catalan irish welsh croatian serbian bulgarian slovak"
    " inglés francés español alemán italiano portugués japonés chino ruso"
    " anglais français espagnol allemand italien portugais japonais chinois russe"
    " englisch englische französisch französische spanisch spanische deutsch deutsche italienisch"
    " italienische portugiesisch japanisch chinesisch russisch inglese francese tedesco spagnolo"
    " inglês francês espanhol alemão engels frans duits spaans nederlands"
)
"""Names of languages, in English and in the languages whose instructions are read."""

LANGUAGE_LINKS: Final = words("to into in en al au auf ins nach naar para pour zu")

CODE_TARGETS: Final = words(
    "python javascript typescript java kotlin go golang rust ruby php perl scala haskell cpp"
    " csharp c sql bash swift julia r lua"
)
"""Programming languages that code may be translated to."""


def _one_slip(word: str) -> set[str]:
    """The word with one letter left out, doubled, or swapped with the next; the first one kept."""
    out = set()
    for i in range(1, len(word)):
        out.add(word[:i] + word[i + 1 :])
        out.add(word[:i] + word[i] + word[i:])
        if i + 1 < len(word):
            out.add(word[:i] + word[i + 1] + word[i] + word[i + 2 :])
    out.discard(word)
    return out


_OFTEN_MISSPELT: Final = words(
    "translate summarize summarise grammar grammatical correct sentence complete continue classify"
    " categorize extract generate embedding embed proofread spelling sentiment function python"
    " javascript calculate equation solve square describe picture image illustration paragraph"
    " story write finish compute translation summary autocomplete mistakes question poem"
)

# Slips that are words themselves.
_NO_SLIPS: Final = words(
    "compete sole store poe pem pome stor selling sentient mistake finnish summaries"
)

MISSPELT: Final = {
    slip: word for word in _OFTEN_MISSPELT for slip in _one_slip(word) if slip not in _NO_SLIPS
} | {"grammer": "grammar", "compleet": "complete", "writ": "write", "sumarise": "summarise"}
"""Common slips in the words that decide most, and what was meant."""


_GAP: Final = 6


class Entry(NamedTuple):
    """The cues that begin with one word."""

    by_second: dict[str, tuple[Cue, ...]]
    """Cues whose next word is fixed, under that word, longest first."""
    others: tuple[Cue, ...]
    """Cues of one word, or of one word and a gap; those with a gap first."""
    is_verb: bool
    """Whether the word alone is an instruction's verb."""


def find_cue(entry: Entry, tokens: list[str], at: int) -> tuple[Cue, int] | None:
    """The longest cue standing at ``tokens[at]`` and the position after it."""
    if at + 1 < len(tokens) and (cues := entry.by_second.get(tokens[at + 1])):
        for cue in cues:
            end = at + 1 + len(cue.rest)
            if len(cue.rest) == 1 or tuple(tokens[at + 1 : end]) == cue.rest:
                if not cue.later:
                    return cue, end
                if _later_end(cue.later, tokens, end):
                    return cue, end
    for cue in entry.others:
        if not cue.later or _later_end(cue.later, tokens, at + 1):
            return cue, at + 1
    return None


def _later_end(later: tuple[str, ...], tokens: list[str], start: int) -> int:
    """The position after ``later`` when it stands within the gap, else 0."""
    width = len(later)
    for at in range(start, min(start + _GAP, len(tokens) - width) + 1):
        if tokens[at] == later[0] and (width == 1 or tuple(tokens[at : at + width]) == later):
            return at + width
    return 0


def _by_first_word() -> dict[str, Entry]:
    filed: dict[str, list[Cue]] = {}
    for role, kind, strength, cues in _TABLE:
        for text in " ".join(cues.split()).split(", "):
            before, _, after = text.partition(" * ")
            first, *rest = before.split()
            cue = Cue(tuple(rest), tuple(after.split()), kind, strength, role)
            filed.setdefault(first, []).append(cue)
    return {word: _entry(cues) for word, cues in filed.items()}


def _entry(cues: list[Cue]) -> Entry:
    cues.sort(key=_longest_first)
    by_second: dict[str, tuple[Cue, ...]] = {}
    for cue in cues:
        if cue.rest:
            by_second[cue.rest[0]] = (*by_second.get(cue.rest[0], ()), cue)
    others = tuple(cue for cue in cues if not cue.rest)
    return Entry(by_second, others, any(c.role == "verb" for c in others))


def _longest_first(cue: Cue) -> tuple[int, float]:
    return -(len(cue.rest) + len(cue.later)), -cue.strength


BY_FIRST_WORD: Final = _by_first_word()
"""Every cue, under its first word."""
